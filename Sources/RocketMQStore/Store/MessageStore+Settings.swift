/// Settings that may change while the store is open.
extension MessageStore {
    /// Takes over what can change: when to flush, what to keep, how fast old messages are read. Sizes and paths stay as they were at the start.
    public func take(_ changed: StoreConfiguration) {
        configuration.flushInterval = changed.flushInterval
        configuration.flushDirtyBytes = changed.flushDirtyBytes
        configuration.queueWriteInterval = changed.queueWriteInterval
        configuration.retention = changed.retention
        coldReads.bytesPerSecond = changed.coldReadBytesPerSecond
        configuration.writesRecordChecksums = changed.writesRecordChecksums
    }
}
