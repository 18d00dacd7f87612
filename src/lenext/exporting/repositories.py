"""Model repositories for servers of other projects: Triton, OpenVINO Model Server, and KServe with either of them.

Sources: Triton's model_config.proto and model repository; OpenVINO Model Server's configuration of models; KServe's
InferenceService and ServingRuntime (serving.kserve.io).
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import yaml

from lenext.exporting.onnx_file import INPUT, Facts

Server = Literal["kserve", "triton", "ovms"]
MAX_BATCH = 64
KINDS = {INPUT: "TYPE_UINT8", "images": "TYPE_FP32"}
LABELS, MODEL, VERSION = "labels.txt", "model.onnx", "1"
NEXT: dict[Server, str] = {
    "triton": "tritonserver --model-repository=THIS FOLDER",
    "ovms": "ovms --config_path /models/config.json --rest_port 8000, with this folder mounted at /models",
    "kserve": "copy the folder to the storage that triton.yaml and ovms.yaml name, then apply one of them",
}
"""What to do with a repository."""
PVC = "pvc://models"  # where the cluster has the repository; for the user to change
GROUP = "serving.kserve.io"
OVMS_IMAGE, OVMS_PORT = "openvino/model_server:latest", 8888


def repository_files(server: Server, name: str, facts: Facts) -> dict[str, str]:
    """Return the files beside `NAME/1/model.onnx`: their paths in the repository, and their contents.

    Args:
        server: What reads the repository.
        name: Of the model.
        facts: What the exported file says about itself.
    """
    writers: Mapping[Server, Callable[[str, Facts], dict[str, str]]] = {
        "triton": triton_files, "ovms": ovms_files, "kserve": kserve_files
    }  # fmt: skip
    return writers[server](name, facts)


def triton_files(name: str, facts: Facts) -> dict[str, str]:
    """Return Triton's configuration and the names of the classes."""
    prepare, classes = facts.description.preprocessing, facts.description.classes
    tensor = "images" if facts.network_only else INPUT
    sides = prepare.input_shape if facts.network_only else (prepare.channels, -1, -1)
    outputs = ",\n".join(
        f'  {{\n    name: "{output}"\n    data_type: TYPE_FP32\n    dims: [ {len(classes)} ]\n'
        + (f'    label_filename: "{LABELS}"\n' if output == "probabilities" else "")
        + "  }"
        for output in ("probabilities", "logits")
    )
    configuration = (
        f"# Batches form while the model is busy; only images of one size share a batch.\n"
        f"name: {json.dumps(name, ensure_ascii=False)}\n"
        f'backend: "onnxruntime"\n'
        f"max_batch_size: {MAX_BATCH}\n"
        f'input [\n  {{\n    name: "{tensor}"\n    data_type: {KINDS[tensor]}\n'
        f"    dims: [ {', '.join(map(str, sides))} ]\n  }}\n]\n"
        f"output [\n{outputs}\n]\n"
        f"dynamic_batching {{ }}\n"
        f"instance_group [ {{ kind: KIND_AUTO, count: 1 }} ]\n"
    )
    labels = "".join(f"{' '.join(label.split()) or '?'}\n" for label in classes)
    return {f"{name}/config.pbtxt": configuration, f"{name}/{LABELS}": labels}


def ovms_files(name: str, facts: Facts) -> dict[str, str]:
    """Return OpenVINO Model Server's configuration, for a repository that is mounted at /models."""
    content = {"model_config_list": [{"config": {"name": name, "base_path": f"/models/{name}"}}]}
    return {"config.json": json.dumps(content, indent=2, ensure_ascii=False) + "\n"}


def kserve_files(name: str, facts: Facts) -> dict[str, str]:
    """Return Triton's files, and two manifests to choose from: with Triton, and with OpenVINO Model Server."""
    service = service_name(name)
    runtime, storage = f"{service}-ovms", f"{PVC}/{service}"
    common = {"modelFormat": {"name": "onnx"}, "protocolVersion": "v2", "storageUri": storage}
    triton, ovms = common | {"runtime": "kserve-tritonserver"}, common | {"runtime": runtime}
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": OVMS_IMAGE,
        "args": [
            f"--model_name={service}", f"--model_path=/mnt/models/{name}", f"--rest_port={OVMS_PORT}",
            "--file_system_poll_wait_seconds=0",
        ],
        "ports": [{"containerPort": OVMS_PORT, "protocol": "TCP"}],
    }  # fmt: skip
    serving_runtime = {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": runtime},
        "spec": {
            "supportedModelFormats": [{"name": "onnx", "version": "1"}],
            "protocolVersions": ["v2"],
            "containers": [container],
        },
    }
    note = (
        f"# Copy the content of this folder to {storage}, which holds nothing else, or change storageUri; then:\n"
        "# kubectl apply -f this file. In Triton the model is called "
        f"{json.dumps(name, ensure_ascii=False)}, in OpenVINO Model Server {service}.\n"
    )
    return triton_files(name, facts) | {
        "triton.yaml": note + yaml.safe_dump(inference_service(service, triton), sort_keys=False),
        "ovms.yaml": note + yaml.safe_dump_all([serving_runtime, inference_service(service, ovms)], sort_keys=False),
    }


def inference_service(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a service of one model."""
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"minReplicas": 1, "model": dict(model)}},
    }


def service_name(name: str) -> str:
    """Return a name that Kubernetes takes: a to z, digits and hyphens, at most 40.

    >>> service_name("ResNet18_32px@2")
    'resnet18-32px-2'
    """
    plain = re.sub("[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    return plain if plain[:1].isalpha() else f"model-{plain}".strip("-")
