"""What a request brings to be continued, and how it becomes sequences. Knows no batch and no thread."""

from collections.abc import Sequence as Rows
from typing import NamedTuple

from service.inference.bookmark import Bookmark
from service.inference.sequence import Generated, GenerationOptions, Sequence
from service.inference.ticket import Ticket
from service.text import Tokenizer


class Prompt(NamedTuple):
    """What to continue, in one way for every element of options: the prompt is read once for all of them.

    ids: not empty; after a start, whose pending word is read before them, they may be.
    """

    ids: list[int]
    options: Rows[GenerationOptions]
    start: Bookmark | None = None


def open_request(prompts: Rows[Prompt], tokenizer: Tokenizer) -> tuple[Ticket[Generated], list[Sequence]]:
    """A ticket with a part for every way of every prompt, and of each prompt the first sequence, which leads its siblings."""
    work = sum(len(prompt.ids) + sum(options.max_new_tokens for options in prompt.options) for prompt in prompts)
    ticket: Ticket[Generated] = Ticket(sum(len(prompt.options) for prompt in prompts), work)
    leaders, part = [], 0
    for ids, ways, start in prompts:
        words = ids if start is None else [start.pending, *ids]
        leader, *siblings = [Sequence(ticket, part + i, words, options, tokenizer, start) for i, options in enumerate(ways)]
        leader.siblings = siblings
        for sibling in siblings:
            sibling.leads = False
        leaders.append(leader)
        part += len(ways)
    return ticket, leaders
