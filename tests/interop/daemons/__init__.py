"""Drivers: one module for each BGP daemon, the LAN they run on, and `rs` itself."""

from .bird import Bird
from .exabgp import Exabgp
from .frr import Frr
from .gobgp import Gobgp
from .openbgpd import Openbgpd

DAEMONS = {daemon.name: daemon for daemon in (Bird, Frr, Gobgp, Openbgpd, Exabgp)}
