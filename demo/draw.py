#!/usr/bin/python3
"""usage: draw.py TEXT OUT.npy [OUT.png]: draws a line of text as PP-OCR recognition wants it.

48 pixels high, as wide as the text, black on white, channels in BGR order, (x/255 - 0.5)/0.5, float32 [1, 3, 48, W].
"""
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    text = sys.argv[1]
    if not 1 <= len(text) <= 80 or any(ord(c) < 32 for c in text):
        sys.exit("draw.py: the text must have 1 to 80 printable characters")
    font = ImageFont.truetype(FONT, 34)
    width = max(64, int(font.getlength(text)) + 8)
    width += -width % 8
    picture = Image.new("RGB", (width, 48), "white")
    ImageDraw.Draw(picture).text((4, 4), text, fill="black", font=font)
    pixels = np.asarray(picture, dtype=np.float32)[:, :, ::-1]
    tensor = ((pixels / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
    np.save(sys.argv[2], np.ascontiguousarray(tensor, dtype=np.float32))
    if len(sys.argv) == 4:
        picture.save(sys.argv[3])


main()
