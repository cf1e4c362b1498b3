#!/usr/bin/env python3
"""An encoder of texts and pictures by a CLIP model of open_clip.

    pip install open_clip_torch
    tarn search laion@1 --text "a red bicycle" \\
        --encoder 'python3 Examples/encoders/openclip.py --model ViT-L-14 --pretrained openai'

Model and weights have to be those that the version's features were made with. The weights are downloaded when they
are first used. Texts that are waiting already are encoded together.
"""

import argparse
import json
import os
import select
import sys

BATCH = 32


def waiting(buffer: bytearray) -> list[dict]:
    """The lines that are there by now, at least one; nothing at the end of the input.

    Read from the descriptor: what Python's own buffer holds, `select` does not see.
    """
    while True:
        end = buffer.rfind(b"\n")
        if end >= 0 and not select.select([0], [], [], 0)[0]:
            break
        piece = os.read(0, 1 << 16)
        if not piece:
            break
        buffer += piece
    lines = bytes(buffer[: end + 1]).splitlines()
    del buffer[: end + 1]
    return [json.loads(line) for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-L-14")
    parser.add_argument("--pretrained", default="openai")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    # Answers go where standard output was; whatever libraries print goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import open_clip
    import torch
    from PIL import Image

    model, _, prepare = open_clip.create_model_and_transforms(
        arguments.model, pretrained=arguments.pretrained, device=arguments.device)
    model.eval()
    tokenize = open_clip.get_tokenizer(arguments.model)

    def encode(questions: list[dict]) -> list[dict]:
        replies: list[dict] = [{} for _ in questions]
        with torch.no_grad():
            texts = [place for place, question in enumerate(questions) if "text" in question]
            if texts:
                tokens = tokenize([questions[place]["text"] for place in texts]).to(arguments.device)
                vectors = torch.nn.functional.normalize(model.encode_text(tokens).float(), dim=-1)
                for place, vector in zip(texts, vectors.tolist()):
                    replies[place] = {"embedding": vector}
            for place, question in enumerate(questions):
                if "image" not in question:
                    continue
                try:
                    with Image.open(question["image"]) as picture:
                        pixels = prepare(picture.convert("RGB")).unsqueeze(0).to(arguments.device)
                    vector = torch.nn.functional.normalize(model.encode_image(pixels).float(), dim=-1)
                    replies[place] = {"embedding": vector[0].tolist()}
                except Exception as error:  # one picture that cannot be read is no reason to end
                    replies[place] = {"error": str(error)}
        return replies

    buffer = bytearray()
    while questions := waiting(buffer):
        for first in range(0, len(questions), BATCH):
            piece = questions[first : first + BATCH]
            for question, reply in zip(piece, encode(piece)):
                if "id" in question:
                    reply["id"] = question["id"]
                answers.write(json.dumps(reply) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
