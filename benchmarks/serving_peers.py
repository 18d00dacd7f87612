"""Services that answer for the same network by the same engine: python -m benchmarks.serving_peers WHO MODEL PORT.

WHO is `plain` (FastAPI as it is first written: a file of a form, one image at a time), `loop` (FastAPI with the
image's bytes, decoded and computed where they arrive), or `litserve` (batches; two workers, as an expert has it here).
MODEL is a network alone, exported by `lenext export --network-only`, with its metadata.
"""

import base64
import io
import json
import sys
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image


class Model:
    """An ONNX network with what its users write by hand: decoding, resizing, scaling, names of classes."""

    def __init__(self, path: str, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        prepare = json.loads(metadata["preprocessing"])
        self.classes = json.loads(metadata["classes"])
        self.size, self.input = prepare["stored_size"], self.session.get_inputs()[0].name
        self.crop = prepare["image_size"]
        self.mode = "L" if prepare["channels"] == 1 else "RGB"
        self.mean, self.std = (
            np.array(prepare["normalization"][key], np.float32)[:, None, None] for key in ("mean", "std")
        )

    def decode(self, content: bytes) -> Any:
        height, width = self.size
        image = Image.open(io.BytesIO(content)).convert(self.mode).resize((width, height))
        pixels = np.asarray(image, np.float32).reshape(height, width, -1).transpose(2, 0, 1)
        top, left = (height - self.crop[0]) // 2, (width - self.crop[1]) // 2
        return (pixels[:, top : top + self.crop[0], left : left + self.crop[1]] / 255 - self.mean) / self.std

    def compute(self, images: Any) -> Any:
        return self.session.run(["probabilities"], {self.input: images})[0]

    def answer(self, probabilities: Any) -> dict[str, Any]:
        label = int(probabilities.argmax())
        return {"class": self.classes[label], "probability": float(probabilities[label])}


def fastapi(model: Model, port: int, who: str) -> None:
    import uvicorn
    from fastapi import FastAPI, Request, UploadFile

    application = FastAPI()
    if who == "plain":

        @application.post("/predict")  # type: ignore[untyped-decorator, unused-ignore]
        def predict(file: UploadFile) -> dict[str, Any]:
            return model.answer(model.compute(model.decode(file.file.read())[None])[0])

    else:

        @application.post("/predict")  # type: ignore[untyped-decorator, unused-ignore]
        async def predict_bytes(request: Request) -> dict[str, Any]:
            return model.answer(model.compute(model.decode(await request.body())[None])[0])

    uvicorn.run(application, port=port, log_level="critical", access_log=False)


try:
    import litserve
except ImportError:  # only needed for one of them
    litserve = None
else:

    class Api(litserve.LitAPI):  # type: ignore[misc]
        """LitServe's way to write a service."""

        path = sys.argv[2]

        def setup(self, device: str) -> None:
            self.model = Model(self.path, 1)

        def decode_request(self, request: dict[str, str]) -> Any:
            return self.model.decode(base64.b64decode(request["image"]))

        def predict(self, images: Any) -> Any:
            return self.model.compute(np.stack(images))

        def encode_response(self, probabilities: Any) -> dict[str, Any]:
            return self.model.answer(probabilities)


if __name__ == "__main__":
    if sys.argv[1] == "litserve":
        api = Api(max_batch_size=32, batch_timeout=0.002)
        server = litserve.LitServer(api, accelerator="cpu", workers_per_device=2)
        server.run(
            port=int(sys.argv[3]), log_level="critical", access_log=False, generate_client_file=False,
            num_api_servers=1,
        )  # fmt: skip
    else:
        fastapi(Model(sys.argv[2], 2), int(sys.argv[3]), sys.argv[1])
