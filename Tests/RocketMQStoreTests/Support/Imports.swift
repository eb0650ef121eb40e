// Every test here uses these.
@_exported import RocketMQTesting
