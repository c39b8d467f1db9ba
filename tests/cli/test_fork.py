"""Other code and other definitions on the command line: refused, accepted, forked."""

import json

QUICK = ["search", "--inline", "--space", "label_smoothing", "--model", "resnet8", "--epochs", 1]
QUICK += ["--set", "finalists.count=0", "--json"]
FINISHED = {"complete": 2, "pruned": 0, "failed": 0}


def test_other_code_is_refused_accepted_and_forked_from(invoke, here, assert_documented):
    one = [*QUICK, "--name", "one"]
    assert invoke(*one, "--trials", 2).exit_code == 0
    record = here / "runs/one/environment.json"
    record.write_text(record.read_text().replace('"torch": "', '"torch": "0.'))
    assert invoke(*one, "--trials", 2).exit_code == 0, "nothing is trained, nothing refused"

    refused = invoke(*one, "--trials", 3)
    assert refused.exit_code == 2
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    first, changed, ways = (line.removeprefix("error: ") for line in errors)
    assert first == "study one began with other code:"
    assert changed.startswith("  torch: 0.")
    assert "--fork NEW" in ways
    assert "--accept-code" in ways

    fork = [*one, "--trials", 2, "--fork", "two"]
    expected = json.loads(invoke(*fork, "--dry-run").stdout)
    assert_documented("search --dry-run", expected)
    assert expected["forked"]["copied"] == 2
    assert not (here / "runs/two").exists()
    done = invoke(*fork)
    assert "forked from one: 2 finished trials copied, all of them" in done.stderr
    found = json.loads(done.stdout)
    assert_documented("search", found)
    assert (found["study"], found["trials"]) == ("two", FINISHED)
    assert found["forked"]["code"] == [changed.strip()]
    whole = json.loads(invoke("verify", "two", "--json").stdout)
    assert whole["whole"], whole["faults"]
    assert whole["replayed"]["equal"]
    assert whole["notes"][0].startswith("forked from one: 2 finished trials copied")
    trials = json.loads(invoke("trials", "two", "--json").stdout)["trials"]
    assert {trial["origin"] for trial in trials} == {"forked"}

    accepted = invoke(*one, "--trials", 3, "--accept-code")
    assert accepted.exit_code == 0, accepted.exception
    assert json.loads(accepted.stdout)["trials"]["complete"] == 3
    notes = json.loads(invoke("verify", "one", "--no-replay", "--json").stdout)["notes"]
    assert "gone on with other code since" in notes[0]
    assert invoke(*one, "--trials", 4).exit_code == 0, "what was accepted is asked for no more"
