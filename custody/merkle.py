"""Inclusion and consistency proofs: RFC 9162 section 2.1.3 and 2.1.4, over hashes, pure.

Making a proof needs only the hashes of perfect subtrees, fetched by `subtree(level, index)`: the hash over the
leaves ``[index << level, (index + 1) << level)``. A log keeps them as tiles or rows; a test keeps them in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from custody.digest import EMPTY_ROOT, HASH_BYTES, node_hash
from custody.errors import ProofInvalid

Subtree = Callable[[int, int], bytes]


def range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """Hash of the RFC 6962 subtree over leaves ``[start, end)``; `start` is a multiple of its largest power of two."""
    length = end - start
    if length == 0:
        return EMPTY_ROOT
    if length & (length - 1) == 0 and start % length == 0:
        level = length.bit_length() - 1
        return subtree(level, start >> level)
    split = start + _largest_power_below(length)
    return node_hash(range_root(start, split, subtree), range_root(split, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Audit path for leaf `index` in the tree of `size` leaves. Raises ValueError when it is not in the tree."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            path.append(range_root(split, end, subtree))
            end = split
        else:
            path.append(range_root(start, split, subtree))
            start = split
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """Proof that the tree of `old` leaves is a prefix of the tree of `new`. Raises ValueError unless 0 < old <= new."""
    if not 0 < old <= new:
        raise ValueError(f"no consistency proof from {old} to {new}")
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        split = start + _largest_power_below(end - start)
        if old <= split:
            path.append(range_root(split, end, subtree))
            end = split
        else:
            path.append(range_root(start, split, subtree))
            start, whole = split, False
    if not whole:
        path.append(range_root(start, end, subtree))
    return path[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to, RFC 9162 section 2.1.3.2. Raises ProofInvalid for a wrong length."""
    if not 0 <= index < size:
        raise ProofInvalid(f"leaf {index} is not in a tree of {size}")
    _check_hashes(leaf, *proof)
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise ProofInvalid("the inclusion proof is too long")
        if fn & 1 or fn == sn:
            node = node_hash(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = node_hash(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise ProofInvalid("the inclusion proof is too short")
    return node


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofInvalid unless `leaf` is entry `index` of the tree with this size and root."""
    if root_from_inclusion(leaf, index, size, proof) != root:
        raise ProofInvalid("the inclusion proof leads to another root")


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ProofInvalid unless the old tree is a prefix of the new one, RFC 9162 section 2.1.4.2."""
    if not 0 < old <= new:
        raise ProofInvalid(f"no consistency from {old} to {new}")
    if old == new:
        if proof or old_root != new_root:
            raise ProofInvalid("equal sizes need an empty proof and equal roots")
        return
    _check_hashes(*proof)
    hashes = list(proof)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ProofInvalid("the consistency proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for node in hashes[1:]:
        if sn == 0:
            raise ProofInvalid("the consistency proof is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(node, fr), node_hash(node, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, node)
        fn, sn = fn >> 1, sn >> 1
    if sn or fr != old_root or sr != new_root:
        raise ProofInvalid("the consistency proof does not join the two roots")


def _check_hashes(*hashes: bytes) -> None:
    if any(len(h) != HASH_BYTES for h in hashes):
        raise ProofInvalid("a proof holds hashes of 32 bytes")


def _largest_power_below(n: int) -> int:
    """The largest power of two smaller than n (n > 1)."""
    return 1 << (n - 1).bit_length() - 1
