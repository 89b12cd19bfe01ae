"""Turns a GGUF file of a Llama-family model into a folder in Hugging Face's layout, in f32, for contenders
that read no GGUF: `gguf.py MODEL.gguf FOLDER`.

Types: F32, F16, Q4_0, Q4_1 and Q8_0. The weights are the file's, expanded: every contender computes with
the same numbers. Needs numpy.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
# Numbers of a block and its bytes, by GGML's number of the type.
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 8: (32, 34)}
NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
ENDS = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class Reader:
    """Values from the start of a file on."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, pattern):
        value = struct.unpack_from("<" + pattern, self.data, self.at)
        self.at += struct.calcsize("<" + pattern)
        return value if len(value) > 1 else value[0]

    def text(self):
        length = self.take("Q")
        self.at += length
        return bytes(self.data[self.at - length : self.at]).decode()

    def value(self, kind):
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            kind, length = self.take("I"), self.take("Q")
            return [self.value(kind) for _ in range(length)]
        return self.take(SCALARS[kind])


def read(path):
    """Metadata by key, and (type, shape, bytes) by tensor. Shapes are rows first."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    reader = Reader(data)
    magic, version, count, keys = (reader.take("4s"), reader.take("I"), reader.take("Q"), reader.take("Q"))
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"{path} is no GGUF file of version 2 or 3")
    meta = {}
    for _ in range(keys):
        key = reader.text()
        meta[key] = reader.value(reader.take("I"))
    found = []
    for _ in range(count):
        name = reader.text()
        shape = [reader.take("Q") for _ in range(reader.take("I"))][::-1]
        found.append((name, shape, reader.take("I"), reader.take("Q")))
    alignment = meta.get("general.alignment", 32)
    start = -(-reader.at // alignment) * alignment
    tensors = {}
    for name, shape, kind, offset in found:
        if kind not in BLOCKS:
            raise ValueError(f"{name} is of type {kind}, which is not expanded here")
        numbers, size = BLOCKS[kind]
        length = int(np.prod(shape)) // numbers * size
        tensors[name] = (kind, shape, data[start + offset : start + offset + length])
    return meta, tensors


def expand(kind, data):
    """The f32 numbers of a tensor's bytes."""
    if kind == 0:
        return data.view("<f4").astype(np.float32)
    if kind == 1:
        return data.view("<f2").astype(np.float32)
    rows = data.reshape(-1, BLOCKS[kind][1])

    def half(at):
        return rows[:, at : at + 2].copy().view("<f2").astype(np.float32)

    if kind == 8:
        return (half(0) * rows[:, 2:].view(np.int8)).reshape(-1)
    packed = rows[:, 4:] if kind == 3 else rows[:, 2:]
    nibbles = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    if kind == 3:
        return (half(0) * nibbles + half(2)).reshape(-1)
    return (half(0) * (nibbles - 8)).reshape(-1)


def unpermute(matrix, heads):
    """Rows of q or k in Hugging Face's order: the halves of a head one after the other, where GGUF has
    the pairs that RoPE turns side by side."""
    rows, width = matrix.shape
    return matrix.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def hf_name(name):
    if name in ENDS:
        return ENDS[name]
    _, block, part, suffix = name.split(".")
    return f"model.layers.{block}.{NAMES[part]}.{suffix}"


def config(meta, tensors):
    def of(key, default=None):
        return meta.get(f"llama.{key}", default)

    heads = of("attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": of("attention.head_count_kv", heads),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "rope_theta": of("rope.freq_base", 10000.0),
        "vocab_size": tensors["token_embd.weight"][1][0],
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": meta.get("tokenizer.ggml.bos_token_id", 1),
        "eos_token_id": meta.get("tokenizer.ggml.eos_token_id", 2),
        "torch_dtype": "float32",
        "use_cache": True,
    }


def convert(path, folder):
    """Writes config.json and model.safetensors."""
    meta, tensors = read(path)
    if meta.get("general.architecture") != "llama":
        raise ValueError(f"{path} is of the family {meta.get('general.architecture')}, not llama")
    shape = config(meta, tensors)
    heads = {"attn_q": shape["num_attention_heads"], "attn_k": shape["num_key_value_heads"]}
    folder.mkdir(parents=True, exist_ok=True)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (_, dims, _) in tensors.items():
        size = 4 * int(np.prod(dims))
        header[hf_name(name)] = {
            "dtype": "F32",
            "shape": dims,
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = folder / "model.safetensors.part"
    with part.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for name, (kind, dims, data) in tensors.items():
            values = expand(kind, np.asarray(data)).reshape(dims)
            wanted = heads.get(name.split(".")[2] if name.startswith("blk.") else "")
            if wanted and len(dims) == 2:
                values = unpermute(values, wanted)
            out.write(np.ascontiguousarray(values, dtype="<f4").tobytes())
    (folder / "config.json").write_text(json.dumps(shape, indent=2) + "\n")
    part.rename(folder / "model.safetensors")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
