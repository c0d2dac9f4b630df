"""How far a pull or a build has come, from lines as real engines stream them."""

from __future__ import annotations

from typing import Any

import pytest

from taskmaster_desktop.backend.containers.image_progress import (
    BuildProgress,
    ImageProgress,
    PullProgress,
    Reporter,
)


def status(text: str, layer: str = "", current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if current else {}
    return {"status": text, "progressDetail": detail, "id": layer}


def text_and_fraction(progress: ImageProgress | None) -> tuple[str, float | None] | None:
    return None if progress is None else (progress.text, progress.fraction)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {"stream": "Step 3/9 : COPY bundle.py /build/"},
            ("Building the worker image, step 3/9: COPY bundle.py /build/", 2 / 9),
        ),
        (
            {"stream": "Step 1/2 : RUN a \\\n    && b"},
            ("Building the worker image, step 1/2: RUN a \\ && b", 0.0),
        ),
        (
            {"stream": f"Step 2/2 : RUN {'x' * 200}"},
            (f"Building the worker image, step 2/2: RUN {'x' * 56}...", 0.5),
        ),
        ({"stream": " ---> Running in bae6008dbbf2\n"}, None),
        ({"stream": "Collecting grpcio==1.85.1\n"}, None),
        ({"stream": "\n"}, None),
        ({"aux": {"ID": "sha256:43c9bda8691b"}}, None),
        ({"stream": "Successfully tagged taskmaster-worker:3b4f2c5f0e5f5a11\n"}, None),
    ],
)
def test_build_lines(line: dict[str, Any], expected: tuple[str, float] | None) -> None:
    assert text_and_fraction(BuildProgress().feed(line)) == expected


def test_build_remembers_what_the_step_printed() -> None:
    build = BuildProgress()
    for text in (
        "Step 1/2 : FROM a",
        "old\n",
        "Step 2/2 : RUN b",
        " ---> Running in bae6008dbbf2\n",
        "\x1b[91mERROR: no\x1b[0m",
        "Removing intermediate container bae6008dbbf2\n",
        "one\ntwo\n",
    ):
        build.feed({"stream": text})
    assert (build.step, list(build.output)) == ("RUN b", ["ERROR: no", "one", "two"])


# (line, fraction afterwards, end of the text); 60 + 20 MB, and a layer that is there already
PULL = [
    ({"status": "Pulling from library/node", "id": "20"}, None, None),
    (status("Pulling fs layer", "a"), None, "Pulling node:20"),
    (status("Pulling fs layer", "b"), None, "Pulling node:20"),
    (status("Waiting", "b"), None, "Pulling node:20"),
    (status("Downloading", "a", 30_000_000, 60_000_000), 30 / 240, ": 30 of about 120 MB"),
    # The second is smaller than was guessed, but nothing goes backwards.
    (status("Downloading", "b", 2_000_000, 20_000_000), 32 / 160, ": 32 of 80 MB"),
    (status("Verifying Checksum", "b"), 50 / 160, ": 50 of 80 MB"),
    (status("Download complete", "a"), 80 / 160, ": 80 of 80 MB"),
    (status("Extracting", "a", 30_000_000, 60_000_000), 110 / 160, ": 80 of 80 MB"),
    # As newer engines say it: seconds, and no total.
    ({"status": "Extracting", "id": "b", "progressDetail": {"current": 1, "units": "s"}}, 110 / 160, ": 80 of 80 MB"),
    (status("Pull complete", "a"), 140 / 160, ": 80 of 80 MB"),
    (status("Retrying in 5 seconds", "b"), 140 / 160, ": 80 of 80 MB"),
    (status("Pull complete", "b"), 1.0, ": 80 of 80 MB"),
    (status("Already exists", "c"), None, None),
    ({"status": "Digest: sha256:ab"}, None, None),
    ({"status": "Status: Downloaded newer image for node:20"}, None, None),
]  # fmt: skip


def test_pull_lines() -> None:
    pull = PullProgress("node:20")
    for line, fraction, end in PULL:
        news = pull.feed(line)
        if end is None:
            assert news is None, line
        else:
            assert news is not None, line
            assert (news.fraction, news.text.endswith(end)) == (pytest.approx(fraction), True), (line, news)


def test_fraction_never_falls() -> None:
    pull = PullProgress("x")
    pull.feed(status("Pulling fs layer", "a"))
    pull.feed(status("Pulling fs layer", "b"))
    before = pull.feed(status("Downloading", "a", 900_000, 1_000_000))
    after = pull.feed(status("Downloading", "b", 1, 500_000_000))
    assert before is not None
    assert after is not None
    assert after.fraction == before.fraction == pytest.approx(0.225)


def test_equal_news_is_told_once() -> None:
    told: list[ImageProgress] = []
    reporter = Reporter(told.append)
    news = ImageProgress(text="x", fraction=None)
    for each in (
        news,
        None,
        ImageProgress(text="x", fraction=None),
        ImageProgress(text="x", fraction=0.5),
        news,
    ):
        reporter.tell(each)
    assert [each.fraction for each in told] == [None, 0.5, None]
