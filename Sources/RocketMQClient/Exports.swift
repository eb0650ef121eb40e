// What users of the client handle, so that `import RocketMQClient` is all they write.
@_exported import enum RocketMQBase.LogLevel
@_exported import protocol RocketMQBase.LogSink
@_exported import struct RocketMQBase.LogRecord
@_exported import enum RocketMQProtocol.CompressionType
@_exported import enum RocketMQProtocol.ConsumeFromWhere
@_exported import enum RocketMQProtocol.ConsumeReturnType
@_exported import protocol RocketMQProtocol.MessageContent
@_exported import enum RocketMQProtocol.MessageKind
@_exported import struct RocketMQProtocol.Message
@_exported import struct RocketMQProtocol.MessageExt
@_exported import struct RocketMQProtocol.MessageProperties
@_exported import struct RocketMQProtocol.MessageQueue
@_exported import struct RocketMQProtocol.MessageSystemFlag
@_exported import struct RocketMQProtocol.ResponseCode
