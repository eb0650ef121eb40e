import RocketMQBase
import RocketMQProtocol

// Brokers themselves: 25, 26, 28, 306, 315, 316, 329.
extension AdminClient {
    /// 28: the state of a broker, texts by name.
    public func runtimeInfo(ofBroker address: String) async throws(AdminError) -> [String: String] {
        try await call(.request(.getBrokerRuntimeInfo), .broker(address), doing: "read the broker's state", as: KVTable.self).table
    }

    /// 26: all settings in force.
    public func settings(ofBroker address: String) async throws(AdminError) -> [(key: String, value: String)] {
        let action = "read the settings"
        let server = AdminServer.broker(address)
        let response = try await call(.request(.getBrokerConfig), server, doing: action)
        return try Self.properties(response.body, server, doing: action)
    }

    /// 316: deletes what is left of topics that the broker does not have any more.
    public func cleanUnusedTopics(ofBroker address: String) async throws(AdminError) {
        try await call(.request(.cleanUnusedTopic), .broker(address), doing: "clean up after deleted topics", timeout: timeout * 6)
    }

    /// 306 or 329: has expired files deleted whatever the hour.
    func deleteExpiredFiles(ofBroker address: String, _ code: RequestCode) async throws(AdminError) {
        try await call(.request(code), .broker(address), doing: "delete expired files", timeout: timeout * 6)
    }

    /// 315: one counter over the last minute, hour and day; `nil` when the broker has counted nothing.
    /// - Parameters:
    ///   - name: `TOPIC_PUT_NUMS` and the like.
    ///   - key: the topic, or `topic@group`.
    public func statistics(_ name: String, _ key: String, ofBroker address: String) async throws(AdminError) -> BrokerStatsData? {
        let action = "read the statistics \(name) of \(key)"
        let server = AdminServer.broker(address)
        let response = try await answer(
            to: .request(.viewBrokerStatsData, ["statsName": name, "statsKey": key]), from: server, doing: action)
        switch response.responseCode {
        case .success: return try Self.decode(response.body, server, doing: action)
        // There is no code of its own for that.
        case .systemError: return nil
        default: throw AdminError(response, doing: action, at: server)
        }
    }

    /// 25. Returns what the broker remarks.
    public func updateSetting(_ key: String, to value: String, ofBroker address: String) async throws(AdminError) -> String? {
        let body = Array((PropertiesText.line(key: key, value: value) + "\n").utf8)
        return try await call(.request(.updateBrokerConfig, body: body), .broker(address), doing: "set \(key) to \(value)").remark
    }
}
