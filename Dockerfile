# lenext on a CPU, as a user without rights.
#   docker build -t lenext .
#   docker run --rm -v "$PWD":/workspace lenext train lenet --data digits
FROM python:3.11-slim AS build
WORKDIR /source
RUN pip install --no-cache-dir build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m build --wheel

FROM python:3.11-slim
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch
COPY --from=build /source/dist/*.whl /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt /tmp/*.whl && rm -r /tmp/*.whl /tmp/constraints.txt
RUN useradd --create-home --uid 1000 lenext && mkdir /workspace && chown lenext /workspace
USER lenext
WORKDIR /workspace
ENV LENEXT_DATA=/workspace/data MPLCONFIGDIR=/tmp/matplotlib
ENTRYPOINT ["lenext"]
CMD ["--help"]
