# What a member of a benchmark holds, and whether that is what it is due. Implementation: judge.pyx.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    HIST_LEN = 4096         # 64 buckets an octave: 1.6 % wide

# Changes on their way, and how long they took. Owned by the load client.
cdef struct churn_t:
    uint64_t *sent_at       # ns by prefix, 0 = not changed
    uint64_t *hist          # receipts by latency, see hist_slot
    uint64_t receipts
    uint64_t longest        # ns

# 64 prefixes of one member: those it has and those it is due, looked at together, so kept together.
cdef struct word_t:
    uint64_t have
    uint64_t due

# A prefix of a sampled member: the next hop (last 4 octets) that is due, 0 = any, and what it has.
cdef struct hop_t:
    uint32_t due
    uint32_t got

# One member's routes. Bitmaps have a bit per prefix of the universe, and belong to the holding.
cdef struct holding_t:
    word_t *words
    uint64_t *own           # only this member brings them; NULL = none
    uint64_t *churned       # their change has come; NULL outside churn
    hop_t *hops             # by prefix; NULL = not sampled
    uint64_t missing        # due and not had
    uint64_t surplus        # had, neither due nor own
    uint64_t echoed         # own prefixes that came back: counted, but no fault
    uint64_t nh_wrong       # due prefixes whose next hop is not the right one
    uint64_t unknown        # NLRI outside the universe
    uint64_t malformed      # messages, or parts of them, that cannot be read
    uint64_t updates
    uint64_t announced      # NLRI
    uint64_t withdrawn
    uint64_t t_first        # ns, first NLRI since it was set to 0
    uint8_t addpath         # bit per FAM_*: NLRI carry path identifiers (RFC 7911 3)
    uint8_t eor             # bit per FAM_*: End-of-RIB seen (RFC 4724 2)

# Spans of NLRI seen before, see judge.pyx. Owned by the Universe.
cdef struct memo_table_t:
    uint32_t *slots         # offset in pool / 4 + 1, 0 = empty; NULL = not wanted
    uint8_t *pool
    uint64_t cap            # octets
    uint64_t used
    uint32_t kept           # entries

cdef inline bint holding_ok(const holding_t *h) noexcept nogil:
    return (h.missing | h.surplus | h.nh_wrong | h.unknown | h.malformed) == 0

cdef class Universe:
    """Every prefix of a run, and where it is: index by position, IPv4 first."""

    cdef uint32_t n4                # IPv4 prefixes; index n4 is the first IPv6 prefix
    cdef uint32_t n_prefixes
    cdef uint32_t n_words           # 64-bit words of a bitmap
    cdef uint32_t *direct           # index + 1 by the upper 24 bits, for /24s
    cdef uint64_t *slots4           # key << 26 | index + 1; key = length << 32 | address
    cdef uint64_t mask4
    cdef uint32_t *slots6           # index + 1 - n4
    cdef uint64_t mask6
    cdef const uint8_t *keys6       # 17 octets a prefix: address, length
    cdef bytes keys6_owner
    cdef bint hashed                # some prefix is no IPv4 /24
    cdef memo_table_t memo
    cdef churn_t *churn             # NULL outside churn; borrowed

    cdef int build(self, const uint8_t *p) except -1
    cdef int new_holding(self, holding_t *h) except -1
    cdef void free_holding(self, holding_t *h) noexcept nogil
    cdef int check_bits(self, bytes given) except -1
    cdef int load_due(self, holding_t *h, bytes given) except -1
    cdef int load_own(self, holding_t *h, bytes given) except -1
    cdef bytes held(self, holding_t *h)
    cdef int load_next_hops(self, holding_t *h, bytes due) except -1
    cdef void forget(self, holding_t *h) noexcept nogil
    cdef void warm(self, const holding_t *h, size_t octets) noexcept nogil
    cdef void recount(self, holding_t *h) noexcept nogil
    cdef void digest(self, holding_t *h, const uint8_t *p, uint32_t n, uint64_t now) noexcept nogil

    cdef uint32_t find4(self, uint32_t plen, uint32_t addr) noexcept nogil
    cdef uint32_t find6(self, const uint8_t *key) noexcept nogil
    cdef uint32_t attributes(self, holding_t *h, const uint8_t *p, uint32_t n,
                             uint64_t now) noexcept nogil
    cdef void multi(self, holding_t *h, const uint8_t *v, const uint8_t *p, const uint8_t *end,
                    uint32_t nh, bint announce, uint64_t now) noexcept nogil
    cdef void nlri(self, holding_t *h, const uint8_t *p, uint32_t n, uint8_t family, bint announce,
                   uint32_t nh, uint64_t now) noexcept nogil
    cdef const uint8_t *parse4(self, holding_t *h, const uint8_t *p, const uint8_t *end,
                               bint addpath, uint32_t *at, uint32_t *count) noexcept nogil
    cdef const uint8_t *parse6(self, holding_t *h, const uint8_t *p, const uint8_t *end,
                               bint addpath, uint32_t *at, uint32_t *count) noexcept nogil
    cdef void apply(self, holding_t *h, const uint32_t *at, uint32_t n, bint announce, uint32_t nh,
                    uint64_t now) noexcept nogil
    cdef void change(self, holding_t *h, uint32_t at, bint announce, uint32_t nh,
                     uint64_t now) noexcept nogil

cdef uint32_t hist_slot(uint64_t v) noexcept nogil
cdef uint64_t hist_value(uint32_t slot) noexcept nogil
