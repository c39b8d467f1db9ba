"""A search and its finalists as one run, so that warm workers serve both."""

from collections.abc import Callable, Sequence

from autosd.search.jobs import DONE, WAIT, Answer, Failure, Job, Result, Source
from autosd.search.lists import ListBridge, Run


class ChainBridge:
    """First one bridge, then a list whose runs are chosen when the first is done.

    Runs that are in the list from the start fill slots that the first leaves free at its end;
    progress is told of one of the two at a time.
    """

    def __init__(
        self, first: Source, then: ListBridge, choose: Callable[[], Sequence[Run]]
    ) -> None:
        self.first, self.then, self.choose = first, then, choose
        self._chosen, then.silent = False, True
        self._owner: dict[str, Source] = {}

    def ask(self) -> Answer:
        answer = DONE if self._chosen else self.first.ask()
        if isinstance(answer, Job):
            self._owner[answer.key] = self.first
            return answer
        if answer is DONE and not self._chosen:
            self.then.extend(self.choose())
            self._chosen, self.then.silent = True, False
        more = self.then.ask()
        if isinstance(more, Job):
            self._owner[more.key] = self.then
            return more
        return DONE if answer is DONE and more is DONE else WAIT

    def report(self, job: Job, result: Result) -> bool:
        return self._owner[job.key].report(job, result)

    def complete(self, job: Job, result: Result | None, error: Failure | None) -> None:
        self._owner.pop(job.key).complete(job, result, error)

    def put_back(self, job: Job) -> None:
        self._owner.pop(job.key).put_back(job)

    def close(self) -> None:
        self.first.close()
        self.then.close()
