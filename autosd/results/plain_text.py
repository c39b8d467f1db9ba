"""Names and texts that others chose, such as those of classes, as one harmless line."""

MOST_LETTERS = 200
FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet would run instead of show."""


def one_line(text: str, most: int = MOST_LETTERS) -> str:
    """At most so many letters; what cannot be printed (control codes, line ends) becomes `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula: a `'` stands before what begins like one."""
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
