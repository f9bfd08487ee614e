"""The script that fetches AS-SETs and VRPs: which files there are, and what commands write them.

In: the AS-SETs that clients are held to, and where VRPs are. Out: the text of a shell script that
runs bgpq4 and curl, and the names of the files that it writes, for the configuration to name. A
file is replaced only by a whole new one: what fails, or is suddenly empty, leaves the old one.
"""

from __future__ import annotations

import re
import shlex

import attrs

FOLDER = "irr"
EMPTY = '{"NN": []}\n'
"""What a list is until it is fetched: nothing may be announced."""


def _source(name: str) -> tuple[str, str]:
    """Return the source of an AS-SET's name, "" for any, and the name alone."""
    source, two, rest = name.rpartition("::")
    return (source, rest) if two else ("", name)


@attrs.define(eq=False)
class Bundle:
    """The AS-SETs of one client, together; sessions of the client share it."""

    name: str
    """Of the [prefix_sets] and [as_sets]."""
    names: tuple[str, ...]
    comment: str = ""
    """Where they were given."""
    families: set[str] = attrs.field(factory=set)

    @property
    def plain_asns(self) -> tuple[int, ...]:
        """AS numbers among the AS-SETs: they need no file of AS numbers."""
        return tuple(int(name[2:]) for name in self.names if re.fullmatch(r"AS\d+", name))

    @property
    def prefix_files(self) -> list[str]:
        """Files with prefixes, relative to the configuration."""
        return [
            f"{FOLDER}/{name}.{family[-1]}.json"
            for name in self.names
            for family in sorted(self.families)
        ]

    @property
    def asn_files(self) -> list[str]:
        """Files with AS numbers, relative to the configuration."""
        return [
            f"{FOLDER}/{name}.asns.json" for name in self.names if not re.fullmatch(r"AS\d+", name)
        ]


@attrs.define
class Fetch:
    """Everything that is to be fetched."""

    bundles: list[Bundle] = attrs.field(factory=list)
    vrps: tuple[str, ...] = ()
    """Where VRPs are, in order of preference: URLs and paths."""
    script: str = f"{FOLDER}/fetch.sh"
    vrp_file: str = f"{FOLDER}/vrps.json"

    @property
    def files(self) -> list[str]:
        """Lists that the configuration names, each once."""
        found = [file for one in self.bundles for file in (*one.prefix_files, *one.asn_files)]
        return sorted(set(found))

    @property
    def names(self) -> list[str]:
        """AS-SETs to be looked up, each once."""
        return sorted({name for one in self.bundles for name in one.names})

    def _commands(self) -> list[str]:
        wanted = set(self.files)
        lines = []
        for name in self.names:
            source, plain = _source(name)
            options = f"-S {shlex.quote(source)} " if source else ""
            for suffix, what in (("4", "-4"), ("6", "-6"), ("asns", "-t")):
                file = f"{name}.{suffix}.json"
                if f"{FOLDER}/{file}" in wanted:
                    words = f"{what} -j -l NN {options}{shlex.quote(plain)}"
                    lines.append(f"{shlex.quote(file)} {words}")
        return lines

    def text(self) -> str:
        """Return the script."""
        jobs = "\n".join(self._commands())
        vrps = " ".join(map(shlex.quote, self.vrps))
        return _SCRIPT.replace("@JOBS@", jobs).replace("@VRPS@", vrps)


_SCRIPT = r"""#!/bin/sh
# Fetches the lists that the configuration names: AS-SETs by bgpq4, VRPs by curl. Run it now, and
# then by cron or a systemd timer, followed by `rs reload`. Written by `rs import arouteserver`.
#
#   BGPQ4    the program, "bgpq4" unless set; options may follow, as in BGPQ4="bgpq4 -h rr.ntt.net"
#   JOBS     how many run at one time, 4 unless set
#   FORCE    set to 1 to take an empty list over one that is not
#
# A list is replaced when the new one is complete. What cannot be had leaves the old one, is said on
# standard error, and makes the exit status 1.

cd "$(dirname "$0")" || exit 1
export BGPQ4="${BGPQ4:-bgpq4}" FORCE="${FORCE:-0}"

if [ "${1-}" = --one ]; then
    file=$2
    [ -n "$file" ] || exit 0
    shift 2
    new=".$file.new"
    trap 'rm -f "$new"' EXIT
    if ! $BGPQ4 "$@" >"$new" </dev/null; then
        echo "$file: $BGPQ4 $* failed; the old list stays" >&2
        exit 1
    fi
    if ! grep -q '[0-9]' "$new" && grep -q '[0-9]' "$file" 2>/dev/null && [ "$FORCE" != 1 ]; then
        echo "$file: the new list is empty; the old one stays (FORCE=1 takes it)" >&2
        exit 1
    fi
    mv "$new" "$file"
    exit
fi

status=0
# A list for each line: the file, and the options and the AS-SET for bgpq4.
xargs -P "${JOBS:-4}" -L 1 sh ./"${0##*/}" --one <<'END' || status=1
@JOBS@
END

set -- @VRPS@
if [ $# -gt 0 ]; then
    got=no
    for from; do
        case $from in
            *://*) curl -fsS --max-time 300 -o .vrps.new "$from" || continue ;;
            *) cp "$from" .vrps.new || continue ;;
        esac
        [ -s .vrps.new ] && mv .vrps.new vrps.json && got=yes && break
    done
    rm -f .vrps.new
    [ $got = yes ] || { echo "vrps.json: no source answers; the old file stays" >&2; status=1; }
fi
exit $status
"""
