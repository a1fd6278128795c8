'use strict';
const http = require('http');
const kafkaSse = require('kafka-sse');

const { BROKERS, TOPIC, PORT } = process.env;
http.createServer((request, response) => {
  kafkaSse(request, response, [TOPIC], { kafkaConfig: { 'metadata.broker.list': BROKERS } });
}).listen(Number(PORT), '127.0.0.1');
