"""Interoperability: `rs` between real BGP daemons, on a LAN of network namespaces."""
