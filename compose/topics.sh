#!/bin/sh
# Makes the demo's topics. Running it again changes nothing.
set -eu

create() {
    /opt/kafka/bin/kafka-topics.sh --bootstrap-server "$BOOTSTRAP" --create --if-not-exists \
        --topic "$1" --partitions "$2" --replication-factor 1 --config retention.ms=86400000
}

create orders 6
create notifications 3
