"""How a study's data were split, and every reading of test, on record in its `split.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autosd import files, stored
from autosd.errors import AutosdError
from autosd.search import origin
from autosd.stored import WAY_OUT


@dataclass(frozen=True)
class SplitRecord:
    """The record of one study.

    Attributes:
        folder: of the study.
        study: its name.
        data: name of the data it began with.
    """

    folder: Path
    study: str
    data: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "split.json"

    def check(self, counts: Mapping[str, int], fingerprint: str) -> None:
        """Record the split of the data at the first call; later refuse another one.

        Raises:
            AutosdError: the data changed since the study began.
        """
        if not self.path.exists():
            if self._trained():
                raise AutosdError(f"{self.path}: is missing or no file; {WAY_OUT}")
            known = {"counts": dict(counts), "fingerprint": fingerprint, "test_readings": []}
            files.write_json(self.path, known)
        elif origin.read_json(self.path).get("fingerprint") != fingerprint:
            raise AutosdError(
                f"study {self.study}: {self.data} is not the data it began with ({self.path.name} "
                "has another fingerprint); put back what was there, or start a new study with "
                "--name"
            )

    def _trained(self) -> bool:
        """Whether a run has begun, which none does before the split is recorded."""
        return any(self.folder.glob("*/*/recipe.yaml"))

    def note_reading(self, who: str, when: str) -> None:
        """Append that `who` read the test part at `when`."""
        readings = [*self.readings(), {"who": who, "when": when}]
        known = origin.read_json(self.path)
        with stored.sound(self.path, WAY_OUT):
            counted = all(isinstance(count, int) for count in known["counts"].values())
            if not counted or not isinstance(known["fingerprint"], str):
                raise ValueError("no counts or no fingerprint")
        files.write_json(self.path, {**known, "test_readings": readings})

    def readings(self) -> list[dict[str, str]]:
        """Every recorded reading of the test part."""
        if not self.path.exists():
            return []
        with stored.sound(self.path, WAY_OUT):
            return list(map(dict, origin.read_json(self.path).get("test_readings", [])))
