"""service.inference.prompt: how a request becomes sequences."""

from service.inference.bookmark import Bookmark
from service.inference.prompt import Prompt, open_request
from service.inference.sequence import GenerationOptions
from training.config import TextConfig
from training.vocabulary import build_vocabulary

TOKENIZER = build_vocabulary(["오늘 날씨가 정말 좋다. 집 앞, 공원에 사람들이!"], TextConfig(), with_end=True)


def test_every_way_of_every_prompt_is_a_part_and_the_first_of_a_prompt_leads_the_others() -> None:
    ticket, leaders = open_request([Prompt([3, 4], [GenerationOptions(5)] * 3), Prompt([5], [GenerationOptions(7)])], TOKENIZER)
    assert ticket.parts == 4
    assert [leader.part for leader in leaders] == [0, 3]
    assert [sibling.part for sibling in leaders[0].siblings] == [1, 2]
    assert [sequence.leads for sequence in (*leaders, *leaders[0].siblings)] == [True, True, False, False]
    assert all(sequence.ticket is ticket for sequence in (*leaders, *leaders[0].siblings))


def test_the_work_of_a_request_is_every_prompt_once_and_all_that_may_be_written() -> None:
    ticket, _ = open_request([Prompt([3, 4], [GenerationOptions(5)] * 3), Prompt([5], [GenerationOptions(7)])], TOKENIZER)
    assert ticket.work == 2 + 3 * 5 + 1 + 7


def test_what_goes_on_reads_the_word_that_was_pending_first() -> None:
    _, (leader,) = open_request([Prompt([5, 6], [GenerationOptions(1)], Bookmark((), pending=9))], TOKENIZER)
    assert leader.prompt == [9, 5, 6]
