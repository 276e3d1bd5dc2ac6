"""Parts that never came to the inspection: each is told once, and no flood of them fills the memory."""

from __future__ import annotations

from edge_resad.device.unseen import MissedPart, Unseen


def test_each_part_is_told_once_with_its_moment() -> None:
    unseen = Unseen()
    unseen.add("overwritten", 1.0)
    unseen.add("backlog", 2.0)
    assert list(unseen.take()) == [("overwritten", 1.0), ("backlog", 2.0)]
    unseen.add("overwritten", 3.0)
    assert list(unseen.take()) == [("overwritten", 3.0)]
    assert list(unseen.take()) == []
    assert unseen.counts == {"overwritten": 2, "backlog": 1}


def test_of_too_many_between_two_questions_the_oldest_share_a_moment_and_none_is_lost() -> None:
    unseen = Unseen(most=3)
    for number in range(8):
        unseen.add("backlog" if number == 2 else "overwritten", float(number))
    newest: list[MissedPart] = [("overwritten", 5.0), ("overwritten", 6.0), ("overwritten", 7.0)]
    told = list(unseen.take())
    assert told[-3:] == newest
    assert sorted(told[:-3]) == [("backlog", 4.0)] + [("overwritten", 4.0)] * 4
    assert len(unseen._untold) == 0
    assert list(unseen.take()) == []
