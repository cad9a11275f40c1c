"""What a member of a group asks its broker for: ASK, and the ANSWER."""

from typing import Any, Dict, List, Optional

from . import packets
from .errors import HermesError, protocol_error


class Question:
    """An ASK, and its answer."""

    def __init__(self, op: str, fields: Dict[str, Any], is_once: bool) -> None:
        self.op = op
        self.fields = fields
        #: It has an effect, and may not be asked anew of another membership.
        self.is_once = is_once
        self.answer: Optional[packets.Fields] = None
        self.error: Optional[HermesError] = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class Questions:
    """What a member asks its broker for, and has no answer to yet."""

    def __init__(self) -> None:
        self._waiting: Dict[int, Question] = {}
        self._next = 1

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    def add(self, question: Question) -> packets.Fields:
        """Returns the ASK."""
        self._waiting[self._next] = question
        self._next += 1
        return self._content(self._next - 1)

    def _content(self, id_: int) -> packets.Fields:
        question = self._waiting[id_]
        return {"id": id_, "done": next(iter(self._waiting)) - 1, "op": question.op, **question.fields}

    def answered(self, content: packets.Fields) -> None:
        question = self._waiting.pop(packets.integer_field(content, "id", 1), None)
        if question is None:
            return
        error = content.get("error")
        if error is None:
            question.answer = content
        elif isinstance(error, dict):
            question.error = packets.parse_error(error)
        else:
            raise protocol_error("The broker sent an error that is none.")

    def again(self) -> List[packets.Fields]:
        return [self._content(id_) for id_ in self._waiting]

    def anew(self, error: HermesError) -> None:
        """Another membership."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        self._next = 1
        for question in waiting:
            if question.is_once:
                question.error = error
            else:
                self._waiting[self._next] = question
                self._next += 1

    def fail(self, error: HermesError) -> None:
        for question in self._waiting.values():
            question.error = error
        self._waiting.clear()
