#!/usr/bin/env bash
# start.sh INSTALLED FOLDER PORT: LocalStack, with a file system of its own, so that several can run.
set -euo pipefail
installed=$1 folder=$2 port=$3
mkdir -p "$folder/fs/var/lib/localstack"
ln -s "$installed/lib" "$folder/fs/var/lib/localstack/lib"
# OVERRIDE_IN_DOCKER: it must not believe itself in a container. KINESIS_PERSISTENCE: slow by a factor of 200 otherwise.
export OVERRIDE_IN_DOCKER=0 FILESYSTEM_ROOT="$folder/fs" TMPDIR="$folder" \
  GATEWAY_LISTEN="127.0.0.1:$port" LOCALSTACK_HOST="localhost:$port" \
  DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 DNS_ADDRESS=0 LS_LOG="${LS_LOG:-error}" \
  SERVICES=sqs,kinesis,dynamodb,s3,sns,sts,iam,cloudwatch,dynamodbstreams \
  KINESIS_MOCK_VERSION=0.6.2 KINESIS_PERSISTENCE=0 KINESIS_LATENCY="${KINESIS_LATENCY:-0}" DYNAMODB_IN_MEMORY=1 \
  SQS_DISABLE_CLOUDWATCH_METRICS=1 SQS_ENDPOINT_STRATEGY=path
exec "$installed/venv/bin/python" -m localstack.runtime.main
