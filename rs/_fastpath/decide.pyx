"""A ranking of the paths of a prefix, by repeated selection with decide.pxd's compare().

In: candidates in any order. Out: the same, the best first. MED counts only between paths of one
neighboring AS (RFC 4271 9.1.2.2 c), so "preferred to" is no order by itself: what the ranking is
defined by is that the best is chosen, taken out, and the rest chosen from again.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memmove

from rs._fastpath.paths cimport options_t
from rs._fastpath.stamp cimport check_abi

check_abi(__name__)


cdef void order(candidate_t *c, uint32_t n, bint med_differs, const options_t *o) noexcept nogil:
    """Rank `n` candidates; `med_differs`: not all have the same MED."""
    if not med_differs or o.med_always:
        sort_total(c, n, o)
    elif o.med_deterministic:
        sort_deterministic(c, n, o)
    else:
        sort_by_arrival(c, n, o)


cdef void sort_total(candidate_t *c, uint32_t n, const options_t *o) noexcept nogil:
    """Insertion sort: lists are short and mostly in order already."""
    cdef uint32_t i, j
    cdef candidate_t x
    for i in range(1, n):
        x = c[i]
        j = i
        while j > 0 and compare(&x, &c[j - 1], o) > 0:
            c[j] = c[j - 1]
            j -= 1
        c[j] = x


cdef void sort_deterministic(candidate_t *c, uint32_t n, const options_t *o) noexcept nogil:
    """Rank by repeated selection: best of each neighboring AS, then the best of those.

    Inside a neighboring AS MED always counts, between two it never does, so the ranking is the
    merge of the groups, each sorted.
    """
    cdef uint32_t i, j, start, best
    cdef candidate_t x
    # Sort by (neighboring AS, preference).
    for i in range(1, n):
        x = c[i]
        j = i
        while j > 0 and (x.attrs.first_as < c[j - 1].attrs.first_as
                         or (x.attrs.first_as == c[j - 1].attrs.first_as
                             and compare(&x, &c[j - 1], o) > 0)):
            c[j] = c[j - 1]
            j -= 1
        c[j] = x
    # Merge: of all group heads in what is left, the best one comes next.
    for start in range(n - 1):
        best = start
        for i in range(start + 1, n):
            if c[i].attrs.first_as != c[i - 1].attrs.first_as and compare(&c[i], &c[best], o) > 0:
                best = i
        if best != start:
            x = c[best]
            memmove(&c[start + 1], &c[start], (best - start) * sizeof(candidate_t))
            c[start] = x
            # What was moved up keeps its order, so each group stays sorted and in one run,
            # unless the group of `best` is now split from its rest: it is not, it lost its head.


cdef void sort_by_arrival(candidate_t *c, uint32_t n, const options_t *o) noexcept nogil:
    """Rank by repeated selection, each a comparison in order of arrival (MED not deterministic)."""
    cdef uint32_t i, j, start, best
    cdef candidate_t x
    for i in range(1, n):
        x = c[i]
        j = i
        while j > 0 and earlier(&x, &c[j - 1]):
            c[j] = c[j - 1]
            j -= 1
        c[j] = x
    for start in range(n - 1):
        best = start
        for i in range(start + 1, n):
            if compare(&c[i], &c[best], o) > 0:
                best = i
        if best != start:
            x = c[best]
            memmove(&c[start + 1], &c[start], (best - start) * sizeof(candidate_t))
            c[start] = x


cdef inline bint earlier(const candidate_t *a, const candidate_t *b) noexcept nogil:
    if a.path.ticks != b.path.ticks:
        return <int32_t>(a.path.ticks - b.path.ticks) < 0
    if a.path.peer != b.path.peer:
        return a.path.peer < b.path.peer
    return a.path.path_id < b.path.path_id
