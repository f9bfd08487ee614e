"""Configurations for tests: texts that are correct, and loading them from a folder."""

from pathlib import Path

import pytest

from rs.communityconfig import BlackHoles, Communities
from rs.config import Api, Config, Neighbor, Router
from rs.configfile import load_config
from rs.errors import ConfigError
from rs.filterconfig import AsSetFiles, Filters, PrefixSetFiles, Rpki
from rs.nexthopconfig import IgpRoute, NextHops, OrrGroup
from rs.policyconfig import Policy

ROOT = Path(__file__).parent.parent
RS = '[router]\nasn = 64500\nrouter_id = "10.0.0.1"\n'
RR = RS + 'role = "route-reflector"\n'
MEMBER = '[[neighbors]]\naddress = "10.1.0.1"\nasn = 100001\n'
INTERNAL = '[[neighbors]]\naddress = "10.1.0.1"\nasn = 64500\n'
SECTIONS = {
    "router": Router,
    "api": Api,
    "neighbors": Neighbor,
    "igp": IgpRoute,
    "next_hops": NextHops,
    "orr": OrrGroup,
    "filters": Filters,
    "prefix_sets": PrefixSetFiles,
    "as_sets": AsSetFiles,
    "rpki": Rpki,
    "policies": Policy,
    "communities": Communities,
    "blackhole": BlackHoles,
}


class Folder:
    """A folder with rs.toml and members.d/."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self, text: str, **members: str) -> Config:
        """Write rs.toml, and other files by name in members.d, and load the first."""
        folder = self.path / "members.d"
        folder.mkdir(exist_ok=True)
        for name, content in members.items():
            (folder / f"{name}.toml").write_text(content)
        path = self.path / "rs.toml"
        path.write_text(text)
        return load_config(path)

    def problems(self, text: str, **members: str) -> list[str]:
        """Load what must fail; return the problems without the folder's name."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **members)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return [problem.replace(f"{self.path}/", "") for problem in caught.value.problems]


def one(config: Config) -> Neighbor:
    """Return the only neighbor."""
    (neighbor,) = config.neighbors
    return neighbor
