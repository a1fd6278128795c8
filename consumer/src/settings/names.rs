//! Names of properties that are not librdkafka's, or not the user's to set.

/// Properties that Tailrace sets itself, with what to use in their place.
pub(super) const OWNED: [(&str, &str); 15] = [
    ("bootstrap.servers", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("metadata.broker.list", "TAILRACE_KAFKA_BOOTSTRAP_SERVERS"),
    ("group.id", "TAILRACE_GROUP_PREFIX and TAILRACE_INSTANCE: the group id is <prefix>-<instance>"),
    ("group.instance.id", "TAILRACE_INSTANCE"),
    (
        "auto.offset.reset",
        "nothing: where reading goes on is never left to chance; from= of a stream chooses its start",
    ),
    ("enable.auto.offset.store", "nothing: an offset is committed after its record is in memory"),
    (
        "enable.auto.commit",
        "nothing: positions are committed every second, to be seen and never to go on from",
    ),
    (
        "auto.commit.enable",
        "nothing: positions are committed every second, to be seen and never to go on from",
    ),
    ("auto.commit.interval.ms", "nothing: positions are committed every second, where they have moved"),
    ("enable.partition.eof", "nothing: the ends of partitions are always needed"),
    ("group.protocol", "nothing: the classic protocol is used"),
    ("group.remote.assignor", "nothing: the classic protocol is used"),
    ("partition.assignment.strategy", "nothing: a replica always reads every partition"),
    ("allow.auto.create.topics", "nothing: a topic that is missing is served once it exists"),
    ("topic.blacklist", "TAILRACE_TOPICS"),
];

/// Names of Kafka's Java clients, with librdkafka's way.
pub(super) const JAVA: [(&str, &str); 11] = [
    ("sasl.jaas.config", "TAILRACE_KAFKA_SASL_USERNAME and TAILRACE_KAFKA_SASL_PASSWORD"),
    ("sasl.login.callback.handler.class", "TAILRACE_KAFKA_SASL_OAUTHBEARER_METHOD"),
    ("sasl.client.callback.handler.class", "TAILRACE_KAFKA_SASL_OAUTHBEARER_METHOD"),
    ("ssl.truststore.location", "TAILRACE_KAFKA_SSL_CA_LOCATION (a PEM file)"),
    ("ssl.truststore.password", "TAILRACE_KAFKA_SSL_CA_LOCATION (a PEM file needs no password)"),
    ("ssl.truststore.type", "TAILRACE_KAFKA_SSL_CA_LOCATION (always PEM)"),
    ("ssl.truststore.certificates", "TAILRACE_KAFKA_SSL_CA_PEM"),
    (
        "ssl.keystore.type",
        "TAILRACE_KAFKA_SSL_CERTIFICATE_LOCATION and …_SSL_KEY_LOCATION (PEM), or …_SSL_KEYSTORE_LOCATION (PKCS#12)",
    ),
    ("ssl.keystore.key", "TAILRACE_KAFKA_SSL_KEY_PEM"),
    ("ssl.keystore.certificate.chain", "TAILRACE_KAFKA_SSL_CERTIFICATE_PEM"),
    ("max.poll.records", "nothing: records are taken in batches by themselves"),
];

/// Words in a property's name that make its value a secret.
pub(super) const SECRET: [&str; 5] = ["password", "secret", "jaas", "pem", "passphrase"];

/// What a name is likely to mean that is of another client.
pub(super) const OTHER_NAMES: [(&str, &str); 12] = [
    ("brokers", "BOOTSTRAP_SERVERS"),
    ("broker", "BOOTSTRAP_SERVERS"),
    ("bootstrap", "BOOTSTRAP_SERVERS"),
    ("bootstrap.server", "BOOTSTRAP_SERVERS"),
    ("servers", "BOOTSTRAP_SERVERS"),
    ("hosts", "BOOTSTRAP_SERVERS"),
    ("url", "BOOTSTRAP_SERVERS"),
    ("username", "SASL_USERNAME"),
    ("user", "SASL_USERNAME"),
    ("password", "SASL_PASSWORD"),
    ("ca", "SSL_CA_LOCATION"),
    ("tls", "SECURITY_PROTOCOL"),
];
