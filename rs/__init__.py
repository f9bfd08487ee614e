"""rs: a BGP route server and route reflector."""

__version__ = "0.1.0"
