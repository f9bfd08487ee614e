"""The daemon's figures in the text format of Prometheus.

In: a Router, through the same views as the API. Out: lines of the exposition format 0.0.4. The
format wants all samples of a metric together, and there is a sample for every neighbor, so a walk
gathers neighbor by neighbor first and writes metric by metric afterwards.

A client library would keep an object per label set for all time (some kilobytes a neighbor); here
nothing is kept between two scrapes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rs import show
from rs.fsm import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rs.peer import Peer
    from rs.router import Router

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METRICS = {
    "rs_info": ("gauge", "Version and identity, in the labels."),
    "rs_uptime_seconds": ("gauge", "Time since the daemon started."),
    "rs_resident_memory_bytes": ("gauge", "Resident memory of the process."),
    "rs_prefixes": ("gauge", "Prefixes with any path."),
    "rs_usable_prefixes": ("gauge", "Prefixes with a best path."),
    "rs_paths": ("gauge", "Paths, rejected ones included."),
    "rs_dirty_prefixes": ("gauge", "Changed prefixes that wait for their evaluation."),
    "rs_table_changes_total": ("counter", "Updates and withdrawals that changed something."),
    "rs_table_bytes": ("gauge", "Memory of the tables."),
    "rs_attribute_sets": ("gauge", "Distinct attribute sets in use."),
    "rs_attribute_bytes": ("gauge", "Memory of the attribute sets."),
    "rs_member_sets": ("gauge", "Distinct sets of neighbors that routes go to."),
    "rs_next_hops": ("gauge", "Next hops by whether they can be reached."),
    "rs_next_hop_changes_total": ("counter", "Metrics of next hops that changed."),
    "rs_kernel_in_step": (
        "gauge",
        "1 while changes of the kernel's routes arrive, 0 also where it is not asked.",
    ),
    "rs_kernel_prefixes": ("gauge", "Prefixes in the kernel's table."),
    "rs_groups": ("gauge", "Groups of neighbors that are sent the same bytes."),
    "rs_log_bytes": ("gauge", "Encoded messages kept for members that have not read them yet."),
    "rs_jobs": ("gauge", "Long jobs not finished."),
    "rs_startup_waiting": ("gauge", "1 while a start holds routes back."),
    "rs_loop_longest_slice_seconds": ("gauge", "Longest time that a slice of work held the loop."),
    "rs_loop_slice_seconds": ("histogram", "How long slices of work held the loop."),
    "rs_rpki_ready": ("gauge", "1 while there are RPKI data, 0 while nothing is validated."),
    "rs_rpki_vrps": ("gauge", "VRPs in use, each once."),
    "rs_rpki_aspas": ("gauge", "Customer ASes with an attestation."),
    "rs_rpki_cache_up": ("gauge", "1 for an RPKI cache that is in sync."),
    "rs_rpki_cache_vrps": ("gauge", "VRPs that a cache says."),
    "rs_rpki_cache_serial": ("gauge", "Serial number of a cache's data."),
    "rs_rpki_cache_update_age_seconds": ("gauge", "Since a cache's data were last complete."),
    "rs_rpki_file_vrps": ("gauge", "VRPs that a file says."),
    "rs_rpki_file_age_seconds": ("gauge", "Age of the contents in use, by the file's time."),
    "rs_rpki_file_failed": ("gauge", "1 for a file that could not be read the last time."),
    "rs_neighbors": ("gauge", "Neighbors by state."),
    "rs_neighbor_info": ("gauge", "What a neighbor is, in the labels."),
    "rs_neighbor_state": ("gauge", "1 Idle to 6 Established, as in BGP4-MIB."),
    "rs_neighbor_uptime_seconds": ("gauge", "Age of the session, 0 without one."),
    "rs_neighbor_flaps_total": ("counter", "Times that an established session went down."),
    "rs_neighbor_messages_total": ("counter", "Messages by direction and type."),
    "rs_neighbor_prefixes_received": ("gauge", "Paths in the Adj-RIB-In, rejected ones included."),
    "rs_neighbor_prefixes_accepted": ("gauge", "Paths that may be used."),
    "rs_neighbor_prefixes_rejected": ("gauge", "Paths that import rejected."),
    "rs_neighbor_paths_refused_total": (
        "counter",
        "Paths not taken in, beyond what the neighbor may have for one prefix.",
    ),
    "rs_neighbor_prefixes_advertised": ("gauge", "Prefixes that the neighbor has been sent."),
    "rs_neighbor_prefixes_stale": ("gauge", "Paths kept of a lost session, or not refreshed yet."),
    "rs_neighbor_rejects": ("gauge", "Rejected paths by reason."),
    "rs_neighbor_lag_bytes": ("gauge", "Of the log not sent yet, what is for others included."),
    "rs_neighbor_treat_as_withdraw_total": (
        "counter",
        "UPDATEs of this session whose routes were withdrawn (RFC 7606).",
    ),
    "rs_neighbor_attribute_discard_total": (
        "counter",
        "UPDATEs of this session with an attribute discarded (RFC 7606).",
    ),
}
"""Every metric: name -> (type, help)."""


def escaped(value: object) -> str:
    """Return a label's value as the format wants it."""
    return str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def labels(**pairs: object) -> str:
    """Return labels with their braces."""
    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in pairs.items()) + "}"


class MetricsWalk:
    """Every metric as lines, in steps."""

    def __init__(self, router: Router, now: float, rss: int) -> None:
        self._lines: dict[str, list[str]] = {name: [] for name in METRICS}
        self._now = now
        self._states = dict.fromkeys(State, 0)
        self._router = router
        self._peers = show.PeerWalk(router, self._peer)
        self._gathered = False
        self._written: Iterator[str] = iter(())
        self._status(rss)
        self._rpki()

    def step(self, spent: Callable[[], bool]) -> list[str] | None:
        """Return the next blocks of lines; see `show.Walk`."""
        if not self._gathered:
            if self._peers.step(spent) is not None:
                return []
            for state, count in self._states.items():
                self._add("rs_neighbors", count, labels(state=state.label))
            self._written = self._write()
            self._gathered = True
        out = []
        for block in self._written:
            out.append(block)
            if spent():
                return out
        return out or None

    def _write(self) -> Iterator[str]:
        for name, (kind, text) in METRICS.items():
            lines = self._lines.pop(name)
            if lines:
                yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
                for at in range(0, len(lines), 1000):
                    yield "\n".join(lines[at : at + 1000]) + "\n"

    def _add(self, name: str, value: float, where: str = "", *, suffix: str = "") -> None:
        self._lines[name].append(f"{name}{suffix}{where} {value}")

    def _status(self, rss: int) -> None:
        router = self._router
        found = show.status(router, self._now, rss)
        identity = {name: found[name] for name in ("version", "role", "asn", "router_id")}
        self._add("rs_info", 1, labels(**identity))
        self._add("rs_uptime_seconds", found["uptime_s"])
        self._add("rs_resident_memory_bytes", found["rss_bytes"])
        self._add("rs_attribute_sets", found["attribute_sets"])
        self._add("rs_attribute_bytes", found["attribute_bytes"])
        self._add("rs_member_sets", found["member_sets"])
        self._add("rs_jobs", found["jobs"])
        self._add("rs_startup_waiting", int(found["startup"] is not None))
        hops = found["next_hops"]
        reachable = hops["known"] - hops["unreachable"]
        self._add("rs_next_hops", reachable, labels(state="reachable"))
        self._add("rs_next_hops", hops["unreachable"], labels(state="unreachable"))
        self._add("rs_next_hop_changes_total", hops["changes"])
        self._add("rs_kernel_in_step", int(hops["kernel"] == "in-step"))
        self._add("rs_kernel_prefixes", hops["kernel_prefixes"] or 0)
        for (family, table), views in zip(
            found["families"].items(), router.exporter.views, strict=True
        ):
            where = labels(family=family)
            self._add("rs_prefixes", table["prefixes"], where)
            self._add("rs_usable_prefixes", table["usable"], where)
            self._add("rs_paths", table["paths"], where)
            self._add("rs_dirty_prefixes", table["dirty"], where)
            self._add("rs_table_changes_total", table["changes"], where)
            self._add("rs_table_bytes", table["bytes"], where)
            self._add("rs_groups", table["groups"], where)
            stats = [group.stats() for view in views for group in view.groups]
            held = sum(s["log_held"] + s["walk_held"] for s in stats)
            self._add("rs_log_bytes", held, where)
        self._add("rs_loop_longest_slice_seconds", router.loop.longest_slice)
        count = 0
        for bound, slices in router.loop.histogram:
            count += slices
            le = "+Inf" if bound == float("inf") else bound
            self._add("rs_loop_slice_seconds", count, labels(le=le), suffix="_bucket")
        self._add("rs_loop_slice_seconds", router.loop.total, suffix="_sum")
        self._add("rs_loop_slice_seconds", count, suffix="_count")

    def _rpki(self) -> None:
        found = show.rpki(self._router)
        self._add("rs_rpki_ready", int(found["ready"]))
        self._add("rs_rpki_vrps", found["vrps_ipv4"], labels(family="ipv4-unicast"))
        self._add("rs_rpki_vrps", found["vrps_ipv6"], labels(family="ipv6-unicast"))
        self._add("rs_rpki_aspas", found["aspas"])
        for cache in found["caches"]:
            where = labels(cache=cache["name"], preference=cache["preference"])
            self._add("rs_rpki_cache_up", int(cache["state"] == "in sync"), where)
            self._add("rs_rpki_cache_vrps", cache["vrps"], where)
            if cache["serial"] is not None:
                self._add("rs_rpki_cache_serial", cache["serial"], where)
            if cache["updated_s"] is not None:
                self._add("rs_rpki_cache_update_age_seconds", cache["updated_s"], where)
        for file in found["files"]:
            where = labels(file=file["path"])
            self._add("rs_rpki_file_vrps", file["vrps"], where)
            self._add("rs_rpki_file_failed", int(bool(file["last_error"])), where)
            if file["age_s"] is not None:
                self._add("rs_rpki_file_age_seconds", file["age_s"], where)

    def _peer(self, peer: Peer) -> None:
        found = show.neighbor(self._router, peer, self._now)
        state = peer.session.state
        self._states[state] += 1
        who = f'neighbor="{escaped(found["address"])}",asn="{found["asn"]}"'
        where = f"{{{who}}}"
        about = labels(type=found["type"], description=found["description"])[1:]
        self._add("rs_neighbor_info", 1, f"{{{who},{about}")
        self._add("rs_neighbor_state", state.value, where)
        self._add("rs_neighbor_uptime_seconds", found["uptime_s"], where)
        self._add("rs_neighbor_flaps_total", found["flaps"], where)
        for direction, counts in found["messages"].items():
            for kind, count in counts.items():  # type: ignore[attr-defined]
                if kind != "total":
                    more = f'direction="{direction}",type="{kind}"'
                    self._add("rs_neighbor_messages_total", count, f"{{{who},{more}}}")
        for name, family in found["families"].items():
            more = f'{{{who},family="{name}"}}'
            self._add("rs_neighbor_prefixes_received", family["received"], more)
            self._add("rs_neighbor_prefixes_accepted", family["accepted"], more)
            self._add("rs_neighbor_prefixes_rejected", family["rejected"], more)
            self._add("rs_neighbor_paths_refused_total", family["refused"], more)
            self._add("rs_neighbor_prefixes_stale", family["stale"], more)
            self._add("rs_neighbor_prefixes_advertised", family["advertised"], more)
        for reason, count in found["rejects"].items():
            self._add("rs_neighbor_rejects", count, f'{{{who},reason="{reason}"}}')
        self._add("rs_neighbor_lag_bytes", found["lag_bytes"], where)
        updates = found["updates"]
        self._add("rs_neighbor_treat_as_withdraw_total", updates["treat_as_withdraw"], where)
        self._add("rs_neighbor_attribute_discard_total", updates["attribute_discard"], where)
