"""Formulas as MathML, made from the text that operations and optimisers carry."""

from __future__ import annotations

import re
import unicodedata
from html import escape

_ACCENTS = {"\u0304": "‾", "\u0302": "^", "\u0303": "~"}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ˣʸᵇᵀ", "0123456789+−()xybT", strict=True)) | {"ᵢ": "", "ⱼ": ""}
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₙ", "0123456789ijkn", strict=True))
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9']+(?:_[A-Za-z0-9]{2,})*(?![\u0300-\u036f])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-−]?\d+)?")
_SUBSCRIPT = re.compile(r"_(?:\{([^}]*)\}|([A-Za-z0-9](?:,[A-Za-z0-9])+|[A-Za-z0-9]+))")
_NAMED = {"max", "min", "ln", "exp", "mean", "sin", "cos", "tanh", "sign", "erf", "silu"}


def statements(formula: str) -> list[str]:
    """Each statement of a formula (they are set apart by a line, or by a comma and two blanks) as a ``<math>``."""
    parts = [part for line in formula.splitlines() for part in re.split(r",? {2,}", line.strip()) if part]
    return [f'<math display="block">{_Reader(part).row()}</math>' for part in parts]


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = unicodedata.normalize("NFD", text)
        self.at = 0

    def row(self, end: str = "") -> str:
        """Everything up to the closing bracket ``end``, which is passed over."""
        parts = []
        while self.at < len(self.text):
            if end and self.text[self.at] == end:
                self.at += 1
                break
            parts.append(self._scripts(self._atom()))
        return f"<mrow>{''.join(parts)}</mrow>"

    def _atom(self) -> str:
        char = self.text[self.at]
        if char.isspace():
            self.at += 1
            return ""
        for pattern, make in ((_NUMBER, self._number), (_WORD, self._word)):
            found = pattern.match(self.text, self.at)
            if found:
                self.at = found.end()
                return make(found.group())
        self.at += 1
        if char == "√":
            if self.text[self.at : self.at + 1] == "(":
                self.at += 1
                return f"<msqrt>{self.row(')')}</msqrt>"
            return f"<msqrt>{self._scripts(self._atom())}</msqrt>" if self.at < len(self.text) else "<mo>√</mo>"
        if char in "([{":
            close = {"(": ")", "[": "]", "{": "}"}[char]
            return f'<mo stretchy="false">{char}</mo>{self.row(close)}<mo stretchy="false">{close}</mo>'
        letter = char.isalpha() and char not in "ΣΠ"
        made = f"<mi>{escape(char)}</mi>" if letter else f"<mo>{escape(char)}</mo>"
        accent = self.text[self.at : self.at + 1]
        if letter and accent in _ACCENTS and accent:
            self.at += 1
            made = f'<mover>{made}<mo stretchy="false">{_ACCENTS[accent]}</mo></mover>'
        return made

    def _number(self, text: str) -> str:
        return f"<mn>{escape(text)}</mn>"

    def _word(self, text: str) -> str:
        if text in _NAMED:
            return f'<mi>{escape(text)}</mi><mspace width="0.2em"/>'
        if self.text[self.at : self.at + 1] == "(":
            return f"<mi>{escape(text)}</mi>"
        return f"<mtext>\u00a0{escape(text)}\u00a0</mtext>"

    def _scripts(self, base: str) -> str:
        if not base:
            return base
        low, high = "", ""
        while self.at < len(self.text):
            char = self.text[self.at]
            found = _SUBSCRIPT.match(self.text, self.at)
            if found:
                self.at = found.end()
                low += _Reader(found.group(1) or found.group(2)).row()
            elif char == "[" and base.startswith(("<mi>", "<mover")):
                self.at += 1
                low += self.row("]")
            elif _RAISED.get(char):
                self.at += 1
                high += f"<mi>{_RAISED[char]}</mi>"
            elif char.isdigit() and base.startswith("<mi>") and base[4] > "z":  # β1
                self.at += 1
                low += f"<mn>{char}</mn>"
            elif char in _LOWERED:
                self.at += 1
                low += f"<mi>{_LOWERED[char]}</mi>"
            elif char == "^" and self.at + 1 < len(self.text):
                self.at += 1
                if self.text[self.at] == "(":
                    self.at += 1
                    high += self.row(")")
                else:
                    high += self._atom()
            else:
                break
        if base in ("<mo>Σ</mo>", "<mo>∏</mo>") and low:
            return f"<munder>{base}<mrow>{low}</mrow></munder>"
        if low and high:
            return f"<msubsup>{base}<mrow>{low}</mrow><mrow>{high}</mrow></msubsup>"
        if low:
            return f"<msub>{base}<mrow>{low}</mrow></msub>"
        return f"<msup>{base}<mrow>{high}</mrow></msup>" if high else base
