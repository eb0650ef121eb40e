extension MessageProperties {
    /// What the properties of a record may take up, in bytes.
    public static let mostBytes = Int(Int16.max)

    /// What later deliveries can do without, what is missed least first: what brokers and clients noted on the way, where requests
    /// come from (for replies to them), and the id of the first copy.
    public static let dispensable: [StaticString] = [
        PropertyName.messageRegion, PropertyName.traceSwitch, PropertyName.consumeStartTimestamp, PropertyName.minOffset,
        PropertyName.maxOffset, PropertyName.producerGroup, PropertyName.cluster, PropertyName.originMessageID,
    ]

    /// Whether a record has room for them and for `more` bytes.
    public func fit(with more: Int = 0) -> Bool { encoded().count + more <= Self.mostBytes }

    /// Leaves out what is dispensable, one after the other, until a record has room for the rest and for `more` bytes; whether
    /// it has then.
    public mutating func makeRoom(for more: Int = 0, leavingOut names: [StaticString] = dispensable) -> Bool {
        if fit(with: more) { return true }
        for name in names where self[name] != nil {
            self[name] = nil
            if fit(with: more) { return true }
        }
        return false
    }
}
