"""Students and checkpoints of a study: hashes, and whether `best/` holds the winner."""

import hashlib
from pathlib import Path

from autosd.errors import AutosdError
from autosd.recipe import Recipe
from autosd.results.best import holds
from autosd.results.outcome import Winner, winner
from autosd.results.verify_faults import PUT_BACK, Check
from autosd.results.verify_origin import updated
from autosd.results.verify_runs import hidden
from autosd.search.study import StudyFolder

ANEW = "put back a copy; or remove the folder and run the same search again, which writes it anew"
CHUNK = 1 << 20
BEST = ("metrics.json", "recipe.yaml", "README.md", "model.json")


def check_students(folder: StudyFolder, live: bool, check: Check) -> None:
    """Check the weights of every student, the checkpoints, and `best/`."""
    for path in sorted(folder.path.glob("**/model.json")):
        if not hidden(folder, path):
            where = _where(folder, path.parent)
            with check.form_of(f"{where}/model.json", ANEW if where == "best" else PUT_BACK):
                _check_model(path, where, check)
    if not live:
        for path in sorted(folder.path.glob("**/last.pt")):
            _check_checkpoint(folder, path, check)
    _check_best(folder, live, check)


def _where(folder: StudyFolder, path: Path) -> str:
    return path.relative_to(folder.path).as_posix()


def _check_model(path: Path, where: str, check: Check) -> None:
    """A student, or an ensemble that lists its members' files."""
    todo = ANEW if where == "best" else PUT_BACK
    described = check.read_json(path, f"{where}/model.json", todo)
    if described is None:
        return
    wanted = _checksums(path, "members" in described)
    for file, sha256 in wanted.items():
        name = f"{where}/{file.relative_to(path.parent).as_posix()}"
        if not file.is_file():
            check.wrong(name, "is missing", todo)
        elif _sha256(file) != sha256:
            check.wrong(name, "is not the file that was written (its SHA-256 differs)", todo)
        else:
            check.count("files of students")


def _checksums(path: Path, of_many: bool) -> dict[Path, str]:
    """The files that a description names, and their checksums, if it is one."""
    from autosd.training.ensemble import STUDENTS, described
    from autosd.training.export import WEIGHTS, read_description

    folder = path.parent
    try:
        if not of_many:
            return {folder / WEIGHTS: read_description(folder).sha256}
        return {
            folder / STUDENTS / member.name / name: sha256
            for member in described(path).members
            for name, sha256 in member.sha256.items()
        }
    except AutosdError as error:
        raise ValueError(str(error).removeprefix(f"{path}: ")) from None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check_checkpoint(folder: StudyFolder, path: Path, check: Check) -> None:
    """A training state that can be read, of the run in whose folder it lies."""
    from autosd.training.checkpoint import read_identity

    where, todo = _where(folder, path), "remove it: then its run begins anew when it is needed"
    check.count("checkpoints")
    try:
        identity = read_identity(path)
        recipe = Recipe.read(path.parent / "recipe.yaml")
    except AutosdError as error:
        check.wrong(where, str(error).removeprefix(f"{path}: ").split(". Remove")[0], todo)
        return
    if identity.get("recipe") == recipe.fingerprint():
        return
    if updated(folder):
        check.note(f"{where}: autosd reads its recipe otherwise than the version that wrote it")
    else:
        check.wrong(where, "is of another recipe than the one beside it", todo)


def _check_best(folder: StudyFolder, live: bool, check: Check) -> None:
    """`best/` is whole, and of the winner as far as there is a confirmed one."""
    missing = [name for name in BEST if not (folder.best / name).is_file()]
    if folder.best.is_dir():
        for name in missing:
            check.wrong(f"best/{name}", "is missing", ANEW)
    try:
        won = winner(folder)
    except (AutosdError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        check.wrong("best", f"the winner cannot be told ({error})", "see the faults above")
        return
    if won is None or not won.confirmed or live:
        return
    if not folder.best.is_dir():
        check.wrong("best", f"is missing, though {won.label} is confirmed", ANEW)
    elif not missing:
        _check_holds(folder, won, check)


def _check_holds(folder: StudyFolder, won: Winner, check: Check) -> None:
    if check.read_json(folder.best / "metrics.json", "best/metrics.json", ANEW) is None:
        return
    try:
        if holds(folder.best, won.recipe) is None:
            check.wrong("best", f"does not hold the winner, {won.label}", ANEW)
    except (AutosdError, KeyError, TypeError) as error:
        check.wrong("best", str(error), ANEW)
