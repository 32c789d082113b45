"""What the synthetic daemon of the console's tests answers to questions about plans."""

from __future__ import annotations

from frames_oracle import START
from msgspec.structs import replace

from sidestep.autopilot.protocol import Answer
from sidestep.autopilot.protocol_plans import (
    AskWhy,
    AskWhyNot,
    CancelPlanning,
    ComparePlans,
    DifferenceView,
    DrainView,
    FindHost,
    GetPlanning,
    GetRightSizes,
    HostView,
    ListPolicies,
    NewPlan,
    Planning,
    PlanRequest,
    SizesView,
    TryDrain,
    WhyNotView,
    WhyView,
)
from sidestep.autopilot.server import UnknownReference
from sidestep.fleet.forecast_types import Contention
from sidestep.fleet.labels import Label
from sidestep.fleet.plans import Action, Alternative, NoPlan, Plan, Proof, Reason
from sidestep.fleet.questions import (
    ActionChange,
    BestHost,
    HostOffer,
    HostOutlook,
    HostRefusal,
    Obstacle,
    PlanAnswer,
    PlanDifference,
    PolicyList,
    PolicyRow,
    Preflight,
    RightSizes,
    Size,
    Why,
    WhyNot,
)

HOT = Contention(host=Label("h2"), dimension="cpu", probability=0.83, starts_at=START + 31, lead=31.0, peak=0.95)
NO_ROOM = Reason("NO_ROOM", Label("lacks 0.40 cores of cpu 31s from now, at the 80% quantile"))
ACTIVATE = Action(
    id=1, kind="activate", shard=Label(""), source=Label(""), destination=Label("h9"), token=0, priority=3,
    reason=Reason("ACTIVATE", Label("one more host would do")),
)  # fmt: skip


def outlook(host: str, before: float | None, after: float | None, now: float | None = 0.4) -> HostOutlook:
    return HostOutlook(
        host=Label(host), dimension="cpu", peak_now=now, peak_before=before, peak_after=after,
        chance_now=0.1, chance_before=0.83, chance_after=0.06,
    )  # fmt: skip


class PlanAnswers:
    """Answers questions about plans from a made-up one, and remembers what it was asked."""

    def __init__(self) -> None:
        self.wanted: list[PlanRequest] = []
        #: views of a job that are told before its end
        self.steps: list[Planning] = []
        self.possible = True
        self.failed = ""

    def example(self) -> Plan:
        """The plan that is proposed."""
        raise NotImplementedError

    async def planning(self, request: PlanRequest, actor: Label) -> Answer:
        self.wanted.append(request)
        match request:
            case NewPlan():
                if request.policy == "best":
                    raise UnknownReference("no policy best", hint="see: sidestep policies")
                self.job = request
                return Planning(job=4, state="queued", elapsed=0.0)
            case GetPlanning():
                if self.steps:
                    return self.steps.pop(0)
                if self.failed:
                    return Planning(job=4, state="failed", elapsed=1.0, text=Label(self.failed))
                return Planning(job=4, state="done", elapsed=1.0, answer=self.answer())
            case CancelPlanning():
                return Planning(job=4, state="cancelled", elapsed=1.0)
            case AskWhy():
                return self._why(request)
            case AskWhyNot():
                return WhyNotView(
                    WhyNot(
                        shard=Label(request.shard), source=Label("h2"), host=Label(request.host), goes=False,
                        obstacles=(Obstacle(reason=NO_ROOM, dimension="cpu", lacks=0.4, at=31.0, since=12.0),),
                        room=-0.1, chosen=Label("h4"), chosen_room=0.2,
                    )
                )  # fmt: skip
            case ComparePlans():
                return DifferenceView(self.difference())
            case FindHost():
                return HostView(self._best(request))
            case GetRightSizes():
                size = Size(
                    shard=Label("shop-01"), app=Label("shop"), cpu=2.5, memory=None, cpu_before=1.5, memory_before=None,
                    reason=Reason("GROW", Label("needs 2.5 cores instead of 1.5 at the 80% quantile")),
                )  # fmt: skip
                return SizesView(RightSizes(quantile=0.8, sizes=(size,)))
            case ListPolicies():
                rows = (
                    PolicyRow(name=Label("proactive"), used=True, summary=Label("acts before contention")),
                    PolicyRow(name=Label("cost-aware"), used=False, summary=Label("cheapest host that meets demand"),
                              differs=(Label("policy: goals was headroom, now cost, headroom"),)),
                )  # fmt: skip
                return PolicyList(rows)
            case TryDrain():
                return DrainView(self._drain(request.host))

    def answer(self) -> PlanAnswer:
        """A plan with what it does; without if the policy asked for is called none."""
        asked = self.job
        hosts = (outlook("h2", 0.95, 0.73), outlook("h4", 0.41, 0.63), outlook("new-1", 0.1, 0.1, None))
        if asked.policy == "none":
            nothing = NoPlan(
                created=START, snapshot=9, forecast="f-9", impossible=True,
                reasons=(Reason("NO_ROOM", Label("h2 cpu 83% in 31s: shop-01 needs 0.40 cores more cpu on h4")),),
                advice=(ACTIVATE,),
            )  # fmt: skip
            return PlanAnswer(
                policy=Label("none"), no_plan=nothing, before=(HOT,), after=(HOT,), blocks=nothing.reasons, hosts=hosts
            )
        plan = replace(self.example(), proof=Proof(moves=1, bound=1, proven=True, iterations=1200))
        return PlanAnswer(
            what_if=tuple(Label(text) for text in asked.what_if),
            policy=plan.policy.name,
            digest=plan.digest(),
            state="" if asked.what_if else "PROPOSED",
            plan=plan,
            before=(HOT,),
            hosts=hosts,
            without_forecast=self.difference() if asked.compare else None,
            seconds=0.4,
        )

    def difference(self) -> PlanDifference:
        """One action of every sort."""
        rows = tuple(
            ActionChange(what=what, kind="migrate", shard=Label(f"shop-{n:02d}"), source=Label("h2"),
                         destination=Label("h4"), how=(Label(how),) if how else ())
            for n, (what, how) in enumerate(
                (("kept", ""), ("changed", "destination was h3, now h4"), ("new", "RELIEVES: h2"), ("dropped", ""))
            )
        )  # fmt: skip
        world = (Label("h2 cpu: predicted peak was 88%, now 95%"),)
        return PlanDifference(old=Label("#11"), new=Label("#12"), actions=rows, world=world)

    def _why(self, request: AskWhy) -> WhyView:
        if request.shard == "shop-01":
            action = self.example().actions[0]
            return WhyView(
                Why(shard=Label("shop-01"), host=Label("h2"), moves=True, reason=action.reason, plan=12,
                    digest="ab" * 32, action=action, evidence=action.evidence, alternatives=action.alternatives)
            )  # fmt: skip
        if not request.shard.startswith("shop"):
            raise UnknownReference(f"no shard {request.shard}", hint="did you mean shop-01?")
        return WhyView(
            Why(shard=Label(request.shard), host=Label("h1"), moves=False,
                reason=Reason("NO_CONTENTION", Label("no contention is predicted on h1: cpu reaches 40%")),
                hosts=(Alternative(Label("h4"), NO_ROOM, 0.91),))
        )  # fmt: skip

    def _best(self, request: FindHost) -> BestHost:
        if request.cpu > 8:
            refused = (HostRefusal(host=Label("h1"), reason=NO_ROOM),)
            return BestHost(cpu=request.cpu, memory=request.memory, refusals=refused, more=3)
        offers = tuple(
            HostOffer(host=Label(host), room=room, room_cpu=4 * room, room_memory=room * 2**33, zone=Label("z1"))
            for host, room in (("h4", 0.5), ("h1", 0.25))
        )
        return BestHost(cpu=request.cpu, memory=request.memory, app=Label(request.app), offers=offers)

    def _drain(self, host: str) -> Preflight:
        self.job = NewPlan(what_if=(f"drain={host}",), policy="" if self.possible else "none")
        return Preflight(
            host=Label(host),
            shards=3,
            possible=self.possible,
            answer=self.answer(),
            blocks=() if self.possible else (Reason("PINNED", Label("shop-02: it is pinned to its host")),),
            unblocks=() if self.possible else (Label("remove pinned from shop-02 in the fleet file"),),
        )
