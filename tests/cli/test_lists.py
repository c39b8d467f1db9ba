import json

import pytest


@pytest.mark.parametrize(
    "kind", ["strategies", "models", "data", "spaces", "studies", "samplers", "pruners"]
)
def test_every_list_has_names_for_people_and_machines(invoke, kind, assert_documented):
    said = json.loads(invoke("list", kind, "--json").stdout)
    assert_documented(f"list {kind}", said)
    assert list(said) == [kind]
    shown = invoke("list", kind)
    assert shown.exit_code == 0
    assert all(entry["name"].split()[0] in shown.stdout for entry in said[kind])


def test_strategies_come_with_slots_reference_cost_and_knobs(invoke):
    said = {
        entry["name"]: entry
        for entry in json.loads(invoke("list", "strategies", "--json").stdout)["strategies"]
    }
    needed = {"cross_entropy", "label_smoothing", "masd", "ipasd", "rskd", "drg", "dsr", "toast"}
    assert needed <= set(said)
    assert set(said["masd"]) == {"name", "slots", "reference", "cost", "knobs"}
    knob = next(knob for knob in said["masd"]["knobs"] if knob["name"] == "mask_ratio")
    assert knob["default"] == 0.15
    assert set(knob) >= {"name", "default", "valid"}
    assert "our reading" in said["rskd"]["reference"]
    assert "our reading" in said["toast"]["reference"]


def test_doctor_says_what_there_is_and_writes_nothing(invoke, here, assert_documented):
    answer = json.loads(invoke("doctor", "--json").stdout)
    assert_documented("doctor", answer)
    said = answer["findings"]
    names = {finding["name"] for finding in said}
    assert {"versions", "cores", "memory", "precision", "Ray", "storage", "disk", "data"} <= names
    assert invoke("doctor").exit_code == 0
    assert list(here.iterdir()) == []


def test_a_dry_run_measures_and_writes_nothing(invoke, here, assert_documented):
    words = ["search", "--dry-run", "--space", "label_smoothing", "--trials", "3", "--epochs", "2"]
    said = json.loads(invoke(*words, "--json").stdout)
    assert_documented("search --dry-run", said)
    assert set(said["seconds_per_epoch"]) == {"cross_entropy", "label_smoothing"}
    assert said["seconds"] > 0
    assert said["definition"]["trials"] == 3
    shown = invoke(*words)
    assert shown.exit_code == 0
    assert "nothing was written" in shown.stdout
    assert list(here.iterdir()) == []


def test_doctor_lists_an_unfit_cluster_beside_what_this_machine_has(
    invoke, here, assert_documented, monkeypatch
):
    for name in ("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "TUNE_MAX_PENDING_TRIALS_PG"):
        monkeypatch.setenv(name, "1")  # which it sets for its process
    done = invoke("doctor", "--json", "--ray-address", "127.0.0.1:1")
    assert done.exit_code == 0
    answer = json.loads(done.stdout)
    assert_documented("doctor", answer)
    unfit = answer["findings"][-1]
    assert (unfit["name"], unfit["ok"]) == ("cluster", False)
    assert "--ray-address 127.0.0.1:1: nothing answers there" in unfit["found"]
    assert answer["findings"][0]["name"] == "versions"
