#!/bin/sh
# Writes believable orders, and a notification whenever one is shipped, for three tenants.
#
# Each turn of the loop places order N, and moves three older ones on. What an order is follows from its number,
# so nothing needs to be remembered. A line is: headers, TAB, key, TAB, value.
set -eu

# Tenant, customer and total (in cents) of order $1.
order() {
    case $(($1 % 10)) in
        0 | 1 | 2 | 3 | 4) tenant=acme ;;
        5 | 6 | 7) tenant=globex ;;
        *) tenant=initech ;;
    esac
    case $(($1 * 7 % 6)) in
        0) customer=ada ;;
        1) customer=grace ;;
        2) customer=linus ;;
        3) customer=barbara ;;
        4) customer=edsger ;;
        *) customer=margaret ;;
    esac
    total=$(($1 * 7919 % 38000 + 900))
    items=$(($1 * 31 % 5 + 1))
}

# Says that order $1 is in state $2 now.
event() {
    [ "$1" -gt 0 ] || return 0
    order "$1"
    printf 'tenant:%s,type:order.%s\t%s-%05d\t{"order":"%s-%05d","state":"%s","customer":"%s","items":%d,"total":%d.%02d,"currency":"EUR"}\n' \
        "$tenant" "$2" "$tenant" "$1" "$tenant" "$1" "$2" "$customer" "$items" $((total / 100)) $((total % 100))
}

notification() {
    [ "$1" -gt 0 ] || return 0
    order "$1"
    printf 'tenant:%s,type:notification.sent\t%s\t{"to":"%s","channel":"email","text":"Order %s-%05d is on its way."}\n' \
        "$tenant" "$customer" "$customer" "$tenant" "$1"
}

# Sends lines from standard input to the topic $1.
send() {
    /opt/kafka/bin/kafka-console-producer.sh --bootstrap-server "$BOOTSTRAP" --topic "$1" \
        --command-property linger.ms=5 --command-property acks=all \
        --reader-property parse.headers=true --reader-property parse.key=true
}

# Numbers go on where the clock is, so that a restarted producer does not place the same orders again.
first=$(($(date +%s) % 100000))

orders() {
    n=$first
    while :; do
        event "$n" created
        [ "$n" -lt $((first + 4)) ] || event $((n - 4)) paid
        [ "$n" -lt $((first + 9)) ] || event $((n - 9)) packed
        [ "$n" -lt $((first + 16)) ] || event $((n - 16)) shipped
        n=$((n + 1))
        sleep "$PAUSE"
    done
}

notifications() {
    n=$first
    while :; do
        [ "$n" -lt $((first + 16)) ] || notification $((n - 16))
        n=$((n + 1))
        sleep "$PAUSE"
    done
}

notifications | send notifications &
orders | send orders
