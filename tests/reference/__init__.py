"""The slow, plain-Python oracle: what the RFCs say, written to be read, never to be fast.

In: message bytes, attribute dicts (see ARCHITECTURE.md, "attribute dict"), churn scripts. Out: what
the product has to compute from them. It shares nothing with `rs._fastpath`; of the product it knows
the registry numbers in `rs.iana` only. So a difference between the two is a fault in one of them,
and the RFC section named beside the rule here decides which.

    codec       attribute dicts to UPDATE bodies, in every form; a byte stream to messages
    update      one UPDATE body to routes, attribute dicts and an RFC 7606 outcome
    decision    the ranking of a prefix's paths (RFC 4271 9.1, RFC 4456 9)
    export      who gets which path, and with which attributes (RFC 7947, 4456, 4271 5)
    filter      the import filter, rule by rule
    rib         a whole router made of the above: peers, Adj-RIB-In, Loc-RIB, member tables
"""
