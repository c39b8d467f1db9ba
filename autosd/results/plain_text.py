"""Names and texts that others chose, such as those of classes, as one harmless line."""

MOST_LETTERS = 200


def one_line(text: str, most: int = MOST_LETTERS) -> str:
    """At most so many letters; what cannot be printed (control codes, line ends) becomes `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])
