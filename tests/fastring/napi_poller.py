"""The NAPI that the tests of NAPI and of the softirq poll."""

from fastring.napi import Napi


class Poller(Napi):
    """Receives `backlog` packets; completes when it finds less than its budget, as the contract asks."""

    def __init__(self, backlog=0, *, weight=64, name=None, log=None):
        super().__init__(weight)
        self.backlog, self.name, self.log, self.unmasked, self.budgets = backlog, name, log, [], []

    def on_poll(self, budget):
        self.budgets.append(budget)
        if self.log is not None:
            self.log.append(self.name)
        work = min(budget, self.backlog)
        self.backlog -= work
        if work < budget:
            self.unmasked.append(self.napi_complete_done(work))
        return work


def added(softirq, napi):
    softirq.add(napi)
    napi.enable()
    return napi


def scheduled(softirq, napi):
    assert added(softirq, napi).napi_schedule()
    return napi
