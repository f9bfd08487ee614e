# What a module was compiled against. A changed struct and one module not rebuilt gives silent wrong
# data, so every module says at its import which .pxd files it was built from (a checksum of each,
# put in by setup.py), and the package refuses modules that do not fit together.

cdef extern from *:
    """
    #ifndef RS_ABI
    #define RS_ABI ""
    #endif
    """
    const char *RS_ABI


cdef inline int check_abi(str module) except -1:
    """Raise ImportError unless `module` was built from the same .pxd files as those before it."""
    from rs._fastpath import agree
    agree(module, RS_ABI.decode())
    return 0
