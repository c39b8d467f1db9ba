"""Names that others chose, such as those of classes, as one harmless line of text."""

MOST_LETTERS = 200


def one_line(text: str) -> str:
    """At most 200 letters; what cannot be printed (control codes, line ends) becomes `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:MOST_LETTERS])
