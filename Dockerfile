# deedbook with what the service, a projector and a validation worker need: built from the pins, run by nobody in particular.
# docker-compose.yml starts it together with Kafka and S3.

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /opt/deedbook \
    && /opt/deedbook/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements/image.txt \
    && python -m pip install --require-hashes --no-deps --only-binary :all: -r requirements/build.txt
COPY LICENSE README.md pyproject.toml ./
COPY src src
COPY events events
COPY artifacts artifacts
COPY projector projector
COPY consumers consumers
COPY api api
COPY client client
COPY service service
COPY cli cli
RUN python -m hatchling build -t wheel -d /wheel \
    && /opt/deedbook/bin/pip install --no-deps --no-index /wheel/*.whl

FROM python:3.11.13-slim-bookworm
RUN useradd --uid 10001 --create-home deedbook \
    && install --directory --owner deedbook --group deedbook /var/lib/deedbook
COPY --from=build /opt/deedbook /opt/deedbook
ENV PATH=/opt/deedbook/bin:$PATH PYTHONUNBUFFERED=1 DEEDBOOK_FOLDER=/var/lib/deedbook
USER 10001:10001
WORKDIR /var/lib/deedbook
# The pages, and the gRPC interface, of `deedbook serve`.
EXPOSE 8470 8471
ENTRYPOINT ["deedbook"]
CMD ["--help"]
