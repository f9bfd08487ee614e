"""The general policies of a running router: which neighbor has which program.

In: a configuration and its named sets. Out: programs for import and export, the neighbors whose
program is another one than before, and why a policy has refused a path, which is found out by
running it again. What programs are made of is the business of policycompile.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs._fastpath.edits import Edits
from rs.peer import kind_of
from rs.policycompile import Compiler, Facts
from rs.reasons import STATE_SHIFT

if TYPE_CHECKING:
    from rs._fastpath.aspa import AspaTable
    from rs._fastpath.rib import Rib
    from rs._fastpath.terms import Terms
    from rs.config import Config, Neighbor
    from rs.irr import Sets
    from rs.peer import Peer
    from rs.policycompile import Label, Program


class Policies:
    """The programs of one router's neighbors."""

    def __init__(self, config: Config, sets: Sets, rib: Rib, aspas: AspaTable) -> None:
        self._rib = rib
        self._aspas = aspas
        self._edits = Edits(rib.memo, config.router.asn)
        self._config = config
        self._compiler = Compiler(config.policies, sets, self._edits, aspas)
        self.export_validates = self._export_uses("rpki")
        """Some export policy asks for the RPKI state of routes."""
        rib.state_matters = self._export_uses("rpki", "irr")

    def use(self, config: Config, sets: Sets) -> None:
        """Take another configuration; programs stay where their content stays. Then settle()."""
        self._config = config
        self._edits.local_asn = config.router.asn
        self._compiler = Compiler(
            config.policies, sets, self._edits, self._aspas, before=self._compiler
        )
        self.export_validates = self._export_uses("rpki")
        self._rib.state_matters = self._export_uses("rpki", "irr")

    def settle(self) -> None:
        """Forget the programs of the configuration before."""
        self._compiler.settle()

    def _names(self, neighbor: Neighbor, *, export: bool) -> tuple[str, ...]:
        router = self._config.router
        if export:
            return router.export_policy + neighbor.export_policy
        return router.import_policy + neighbor.import_policy

    def _export_uses(self, *attributes: str) -> bool:
        names = set(self._config.router.export_policy)
        for neighbor in self._config.neighbors:
            names.update(neighbor.export_policy)
        return self._compiler.uses(tuple(names), *attributes)

    def validates(self, neighbor: Neighbor) -> bool:
        """Whether some policy asks for the RPKI state of a neighbor's routes."""
        names = self._names(neighbor, export=False)
        return self.export_validates or self._compiler.uses(names, "rpki")

    def asks_aspa(self, neighbor: Neighbor) -> bool:
        """Whether a neighbor's import policy asks for the ASPA state of routes."""
        return self._compiler.uses(self._names(neighbor, export=False), "aspa")

    @property
    def export_asks_aspa(self) -> bool:
        """Whether some export policy asks for the ASPA state of routes."""
        return self._export_uses("aspa")

    def import_program(self, peer: Peer) -> Program | None:
        """Return the program for what a peer announces, None for none."""
        names = self._names(peer.neighbor, export=False)
        return self._compiler.program(names, source=facts(peer)) if names else None

    def export_program(self, peer: Peer) -> Program | None:
        """Return the program for what is announced to a peer, None for none."""
        names = self._names(peer.neighbor, export=True)
        return self._compiler.program(names, target=facts(peer)) if names else None

    def export_terms(self, peer: Peer) -> Terms | None:
        """Return the fast path's part of that."""
        return _terms(self.export_program(peer))

    def set_import(self, peer: Peer) -> bool:
        """Use a peer's import policy from now on; return whether it is another one."""
        terms = _terms(self.import_program(peer))
        if self._rib.policy(peer.slot) is terms:
            return False
        self._rib.set_policy(peer.slot, terms)
        return True

    # --- why

    def why_rejected(self, peer: Peer, prefix: str, attrs_h: int, flags: int) -> Label | None:
        """Return the term that refuses a path on import; None if none does."""
        program = self.import_program(peer)
        return self._refusing(program, peer, (prefix, attrs_h, flags), receive=True)

    def why_withheld(
        self, target: Peer, source: Peer, prefix: str, attrs_h: int, flags: int
    ) -> Label | None:
        """Return the term that keeps a path from a peer on export; None if none does."""
        program = self.export_program(target)
        return self._refusing(program, source, (prefix, attrs_h, flags), receive=False)

    def _refusing(
        self, program: Program | None, source: Peer, path: tuple[str, int, int], *, receive: bool
    ) -> Label | None:
        """Run a program over (prefix, attribute set, flags) of a path; return what refuses it."""
        if program is None:
            return None
        known = facts(source)
        prefix, attrs_h, flags = path
        reason, out_h, fired = program.terms.judge(
            self._rib.attrs,
            attrs_h,
            prefix,
            state=flags >> STATE_SHIFT,
            asn=known.asn,
            address=known.address,
            kind=known.kind,
            receive=receive,
        )
        self._rib.attrs.drop(out_h)
        return program.why(fired) if reason else None


def _terms(program: Program | None) -> Terms | None:
    """Return what is run; nothing where no term is left that could fit."""
    return program.terms if program is not None and program.terms.n_terms else None


def facts(peer: Peer) -> Facts:
    """Return what a policy may ask of a peer."""
    return Facts(peer.address, peer.neighbor.asn or 0, int(kind_of(peer.neighbor)))
