"""What the daemon answers about lost hosts and poisoned shards."""

from __future__ import annotations

from sidestep.autopilot.failover.watch import LossWatch
from sidestep.autopilot.protocol_failover import LossesView, LostHost, PoisonedShard, RecoveredShard
from sidestep.fleet.labels import scrub


def losses_view(watch: LossWatch) -> LossesView:
    """Everything about losses, as it is now."""
    stays = watch.staying_by_host()
    return LossesView(
        hosts=tuple(
            LostHost(
                host=loss.host,
                heard=loss.heard,
                lost=loss.lost,
                back=loss.back,
                quarantined=loss.quarantined,
                reason=loss.reason,
                stays={} if loss.back else stays.get(loss.host, {}),
            )
            for loss in watch.losses()
        ),
        poisoned=tuple(PoisonedShard(shard=p.shard, since=p.since, reason=p.reason) for p in watch.poisoned_rows()),
        recovered=tuple(
            RecoveredShard(shard=one.shard, host=one.host, at=one.at, rto=one.rto, rpo=one.rpo, age=one.age)
            for one in watch.recovered
        ),
        brake=scrub(watch.brake(), 500),
    )
