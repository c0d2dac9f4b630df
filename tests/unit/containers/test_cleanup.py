"""What is ours and goes, what is somebody else's or in use and stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from taskmaster_desktop.backend.containers.api import Absent, Conflict
from taskmaster_desktop.backend.containers.cleanup import Outcome, Plan, carry_out, make_plan
from taskmaster_desktop.backend.containers.profile import (
    DATA_LABEL,
    KIND_AGENT,
    KIND_IMAGE,
    KIND_NETWORK,
    KIND_WORKER,
    LABEL,
)
from taskmaster_desktop.backend.containers.refusals import EngineRefusal
from taskmaster_desktop.backend.errors import EnvironmentProblem

TAG = "taskmaster-worker:0123456789abcdef"
BUILDER = "image-builder"
LABEL_STEP = f"/bin/sh -c #(nop)  LABEL {LABEL}={KIND_IMAGE}"


class FakeEngine:
    """Implements `CleanupApi`; `refusals` are raised by what removes the thing of that id."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {
            "containers": [],
            "networks": [],
            "volumes": [],
            "images": [],
        }
        self.steps: dict[str, str] = {}
        self.on_network: set[str] = set()
        self.refusals: dict[str, Exception] = {}
        self.removed: list[str] = []

    def container(self, name: str, kind: str, folder: str = "", **more: Any) -> None:
        labels = {LABEL: kind} | ({DATA_LABEL: folder} if folder else {})
        row = {"Id": f"id-{name}", "Names": [f"/{name}"], "Labels": labels, "ImageID": "", "Mounts": []}
        self.rows["containers"].append(row | more)

    def add_network(self, name: str, folder: str) -> None:
        labels = {LABEL: KIND_NETWORK, DATA_LABEL: folder}
        self.rows["networks"].append({"Id": f"id-{name}", "Name": name, "Labels": labels})

    def volume(self, name: str) -> None:
        self.rows["volumes"].append({"Name": name, "Labels": {LABEL: KIND_AGENT}})

    def image(self, id_: str, *tags: str, kind: str = KIND_IMAGE, parent: str = "", step: str = "") -> None:
        row = {"Id": id_, "RepoTags": list(tags) or ["<none>:<none>"], "Labels": {LABEL: kind}}
        self.rows["images"].append(row | {"ParentId": parent})
        self.steps[id_] = step

    # === CleanupApi
    def ours(self, kind: str) -> list[Mapping[str, Any]]:
        return list(self.rows[kind])

    def last_step(self, image: str) -> str:
        return self.steps[image]

    def network(self, name: str) -> Mapping[str, Any] | None:
        return {"Containers": {"x": {}} if name in self.on_network else {}}

    def remove(self, container: str) -> None:
        self._remove(container)

    def remove_network(self, name: str) -> None:
        self._remove(name)

    def remove_volume(self, name: str) -> None:
        self._remove(name)

    def remove_image(self, name: str) -> None:
        self._remove(name)

    def _remove(self, id_: str) -> None:
        if id_ in self.refusals:
            raise self.refusals[id_]
        self.removed.append(id_)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def plan_of(engine: FakeEngine, *running: str, more: tuple[str, ...] = ()) -> Plan:
    def claim(folder: str) -> str | None:
        return f"The instance on {folder} is running" if folder in running else None

    return make_plan(engine, claim, more_folders=more)


def ids(plan: Plan) -> list[str]:
    return [thing.id for thing in plan.going]


def why_kept(result: Plan | Outcome) -> dict[str, str]:
    return {kept.name: kept.why for kept in result.kept}


def test_an_empty_engine_is_clean(engine: FakeEngine) -> None:
    plan = plan_of(engine)
    assert plan == Plan(going=(), kept=(), spared={})
    assert carry_out(engine, plan) == Outcome(removed=(), kept=(), failed=())


def test_everything_goes_and_what_uses_something_goes_first(engine: FakeEngine) -> None:
    engine.image("base-step", kind=BUILDER)
    engine.image("final", TAG, parent="base-step", step=LABEL_STEP)
    engine.volume("tm-agent-1")
    engine.add_network("tm-net", "/data")
    engine.container("tm-w1", KIND_WORKER, "/data", ImageID="final")
    engine.container("tm-agent-1-filler", KIND_AGENT)
    plan = plan_of(engine)
    outcome = carry_out(engine, plan)
    assert set(engine.removed[:2]) == {"id-tm-w1", "id-tm-agent-1-filler"}
    assert engine.removed[2:] == ["id-tm-net", "tm-agent-1", TAG, "base-step"]
    assert outcome == Outcome(removed=plan.going, kept=(), failed=())
    assert {thing.name for thing in outcome.removed} >= {"tm-w1", "tm-net", TAG}


def test_what_a_running_instance_has_stays(engine: FakeEngine) -> None:
    engine.image("used", "taskmaster-worker:1111111111111111", step=LABEL_STEP)
    engine.image("old", TAG, step=LABEL_STEP)
    engine.volume("tm-agent-used")
    engine.volume("tm-agent-old")
    for name in ("a", "b"):
        mounts = [{"Type": "volume", "Name": "tm-agent-used"}, {"Type": "bind", "Source": "/data"}]
        engine.container(name, KIND_WORKER, "/live", ImageID="used", Mounts=mounts)
    engine.container("c", KIND_WORKER, "/dead")
    engine.add_network("tm-live", "/live")
    engine.add_network("tm-dead", "/dead")
    plan = plan_of(engine, "/live")
    assert ids(plan) == ["id-c", "id-tm-dead", "tm-agent-old", TAG]
    assert plan.spared == {"/live": ("The instance on /live is running", 2)}
    uses = "the instance on /live uses it"
    assert why_kept(plan) == {"taskmaster-worker:1111111111111111": uses, "tm-agent-used": uses}


@pytest.mark.parametrize("seen_by", ["network", "data folder"])
def test_a_running_instance_without_containers_keeps_images_and_volumes(
    engine: FakeEngine, seen_by: str
) -> None:
    engine.image("any", TAG, step=LABEL_STEP)
    engine.volume("tm-agent-any")
    engine.container("c", KIND_WORKER, "/dead")
    if seen_by == "network":
        engine.add_network("tm-live", "/live")
    plan = plan_of(engine, "/live", more=("/live",) if seen_by == "data folder" else ())
    assert ids(plan) == ["id-c"]
    needed = "the instance on /live may need it"
    assert why_kept(plan) == {TAG: needed, "tm-agent-any": needed}


def test_a_container_of_somebody_else_inherits_the_label_and_stays(engine: FakeEngine) -> None:
    engine.image("final", TAG, step=LABEL_STEP)
    engine.container("theirs", KIND_IMAGE, "/data", ImageID="final")
    engine.container("in-a-build", BUILDER)
    engine.volume("tm-agent-1")
    plan = plan_of(engine, "/data")
    assert ids(plan) == ["tm-agent-1"]
    assert plan.spared == {}
    assert why_kept(plan) == {TAG: "the container theirs, which is not of this program, uses it"}


@pytest.mark.parametrize(
    ("tags", "kind", "step", "going"),
    [
        ((TAG,), KIND_IMAGE, "", [TAG]),
        ((TAG, "theirs:1"), KIND_IMAGE, LABEL_STEP, [TAG]),
        (("theirs:1",), KIND_IMAGE, LABEL_STEP, []),
        (("taskmaster-worker:mine",), KIND_IMAGE, LABEL_STEP, []),
        (("x/taskmaster-worker:0123456789abcdef",), KIND_IMAGE, LABEL_STEP, []),
        (("theirs:1",), BUILDER, "", []),
        ((), KIND_IMAGE, LABEL_STEP, ["it"]),
        ((), KIND_IMAGE, "RUN apt-get install ffmpeg", []),
        ((), BUILDER, "RUN pip install", ["it"]),
        ((), KIND_WORKER, "committed from a worker", []),
    ],
)
def test_only_names_that_we_gave_and_products_of_our_builds_go(
    engine: FakeEngine, tags: tuple[str, ...], kind: str, step: str, going: list[str]
) -> None:
    engine.image("it", *tags, kind=kind, step=step)
    assert ids(plan_of(engine)) == going


def test_what_an_image_that_stays_is_made_from_stays(engine: FakeEngine) -> None:
    engine.image("step-1", kind=BUILDER)
    engine.image("step-2", kind=BUILDER, parent="step-1")
    engine.image("final", TAG, parent="step-2", step=LABEL_STEP)
    engine.image("derived", "theirs:1", parent="final", step="RUN apt-get install ffmpeg")
    engine.image("leftover", kind=BUILDER)
    plan = plan_of(engine)
    assert ids(plan) == ["leftover"]
    assert why_kept(plan) == {TAG: "the image theirs:1 is made from it"}


def test_races_and_users_of_others_are_no_failure(engine: FakeEngine) -> None:
    engine.container("gone", KIND_WORKER, "/data")
    engine.add_network("tm-net", "/data")
    engine.volume("tm-agent-1")
    engine.image("final", TAG, step=LABEL_STEP)
    engine.refusals = {"id-gone": Absent("No such container"), "tm-agent-1": Conflict("volume is in use.")}
    engine.on_network = {"id-tm-net"}
    outcome = carry_out(engine, plan_of(engine))
    assert engine.removed == [TAG]
    assert outcome.failed == ()
    assert why_kept(outcome) == {
        "tm-net": "a container that is not of this program is on it",
        "tm-agent-1": "it is in use (volume is in use)",
    }


def test_a_refusal_is_told_and_the_rest_goes(engine: FakeEngine) -> None:
    for name in ("a", "b", "c"):
        engine.container(name, KIND_WORKER, "/data")
    engine.refusals = {"id-b": EngineRefusal("device or resource busy.")}
    outcome = carry_out(engine, plan_of(engine))
    assert [thing.name for thing in outcome.removed] == ["a", "c"]
    assert [(kept.name, kept.why) for kept in outcome.failed] == [("b", "device or resource busy")]


def test_an_engine_that_goes_away_is_told(engine: FakeEngine) -> None:
    engine.container("a", KIND_WORKER, "/data")
    engine.refusals = {"id-a": EnvironmentProblem("No Docker Engine answers.", fix="Start Docker.")}
    with pytest.raises(EnvironmentProblem, match="No Docker Engine"):
        carry_out(engine, plan_of(engine))
