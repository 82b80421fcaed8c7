"""A folder of emoji, 64×64 in colour: things that a person names, without a download that may go away.

    apt-get install fonts-noto-color-emoji; pip install fonttools
    python -m benchmarks.emoji FOLDER [--font FILE] [--size 64]

Every drawing of Google's Noto font but those that differ in the colour of skin alone, on white: 2,031 in Debian 12.
limner takes a tenth each out for validation and test, by the pixels.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
SKIN = range(0x1F3FB, 0x1F400)  # the five modifiers of skin


def of_other_skin(font: Any) -> set[str]:
    """The names of the glyphs that a modifier of skin leads to."""
    skin = {name for code, name in font.getBestCmap().items() if code in SKIN}
    tables = [table for lookup in font["GSUB"].table.LookupList.Lookup for table in lookup.SubTable]
    found = set(skin)
    for table in tables:
        for ligatures in getattr(table, "ligatures", {}).values():
            found |= {ligature.LigGlyph for ligature in ligatures if skin & set(ligature.Component)}
    return found


def main() -> None:
    """Write the images."""
    from fontTools.ttLib import TTFont

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--size", type=int, default=64)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    font = TTFont(asked.font)
    left_out = of_other_skin(font)
    for name, glyph in font["CBDT"].strikeData[0].items():
        if name in left_out:
            continue
        drawing = Image.open(io.BytesIO(glyph.imageData)).convert("RGBA")
        side = max(drawing.size)
        ground = Image.new("RGBA", (side, side), "white")
        ground.alpha_composite(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
        small = ground.convert("RGB").resize((asked.size, asked.size), Image.Resampling.LANCZOS)
        small.save(asked.folder / f"{name}.png")


if __name__ == "__main__":
    main()
