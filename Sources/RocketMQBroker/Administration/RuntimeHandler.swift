import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// The state of the broker as a table of texts (28), by the reference's names.
final class RuntimeHandler: AdministrationHandler {
    let codes: [RequestCode] = [.getBrokerRuntimeInfo]
    private let statistics: RuntimeStatistics
    private let store: MessageStore
    private let fileSystem: any FileSystem
    private let rootDirectory: String
    private let clock: any SystemClock
    /// What other parts of the broker have to say.
    private let more: (@escaping ([String: String]) -> Void) -> Void

    init(
        statistics: RuntimeStatistics, store: MessageStore, fileSystem: any FileSystem, rootDirectory: String, clock: any SystemClock,
        more: @escaping (@escaping ([String: String]) -> Void) -> Void = { $0([:]) }
    ) {
        self.statistics = statistics
        self.store = store
        self.fileSystem = fileSystem
        self.rootDirectory = rootDirectory
        self.clock = clock
        self.more = more
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let later = AnswerLater(request, from: connection)
        store.lookUp({ (reader) throws(LookupInterruption) in try reader.earliestStoreTimestamp() }) { [self] result in
            more { [self] others in
                var table = counters()
                table.merge(storeState()) { $1 }
                // What cannot be read is not known; the rest is.
                table["earliestMessageTimeStamp"] = "\((try? result.get()) ?? -1)"
                table.merge(identity()) { $1 }
                table.merge(others) { $1 }
                later.send(.success(body: KVTable(table: table).encoded()))
            }
        }
        return nil
    }

    private func identity() -> [String: String] {
        let seconds = max(0, clock.wallMilliseconds - statistics.startedAtMilliseconds) / 1000
        return [
            "brokerVersion": "\(FrameFormat.version)", "brokerVersionDesc": FrameFormat.versionName,
            "product": "swift-rocketmq \(ProductVersion.text)",
            "bootTimestamp": "\(statistics.startedAtMilliseconds)",
            "runtime":
                "[ \(seconds / 86_400) days, \(seconds / 3600 % 24) hours, \(seconds / 60 % 60) minutes, \(seconds % 60) seconds ]",
        ]
    }

    private func counters() -> [String: String] {
        let totals = statistics.totals
        func rates(_ counter: KeyPath<RuntimeStatistics.Totals, Int64>) -> String {
            statistics.rates(counter).map { ReadableNumber.decimal($0, digits: 2) }.joined(separator: " ")
        }
        let average = totals.putMessages > 0 ? Double(totals.putBytes) / Double(totals.putMessages) : 0
        var table = [
            "putMessageTimesTotal": "\(totals.putMessages)", "putMessageSizeTotal": "\(totals.putBytes)",
            "putMessageAverageSize": ReadableNumber.decimal(average, digits: 2), "putMessageFailedTimes": "\(totals.refusedPuts)",
            "putTps": rates(\.putMessages), "getTransferedTps": rates(\.gotMessages), "getTotalTps": rates(\.pulls),
            "msgPutTotalTodayNow": "\(totals.putMessages)", "msgPutTotalTodayMorning": "\(statistics.atMidnight.putMessages)",
            "msgPutTotalYesterdayMorning": "\(statistics.atMidnightBefore.putMessages)", "msgGetTotalTodayNow": "\(totals.gotMessages)",
            "msgGetTotalTodayMorning": "\(statistics.atMidnight.gotMessages)",
            "msgGetTotalYesterdayMorning": "\(statistics.atMidnightBefore.gotMessages)",
        ]
        // Requests wait in no queues here, and tools of the reference cannot do without these.
        for name in [
            "sendThreadPoolQueueSize", "pullThreadPoolQueueSize", "sendThreadPoolQueueHeadWaitTimeMills",
            "pullThreadPoolQueueHeadWaitTimeMills", "queryThreadPoolQueueHeadWaitTimeMills", "pageCacheLockTimeMills",
            "dispatchBehindBytes",
        ] { table[name] = "0" }
        return table
    }

    private func storeState() -> [String: String] {
        var table = [
            "commitLogMinOffset": "\(store.minPhysicalOffset)", "commitLogMaxOffset": "\(store.writtenOffset)",
            "remainHowManyDataToFlush": ReadableNumber.bytes(UInt64(max(0, store.writtenOffset - store.flushedOffset))),
        ]
        // They may be on disks of their own.
        for (name, directory) in [
            ("commitLogDiskRatio", store.configuration.commitLogDirectory), ("consumeQueueDiskRatio", rootDirectory),
        ] {
            guard let space = try? fileSystem.space(at: directory), space.total > 0 else { continue }
            table[name] = ReadableNumber.decimal(1 - Double(space.available) / Double(space.total), digits: 4)
            guard name == "commitLogDiskRatio" else { continue }
            table["commitLogDirCapacity"] =
                "Total : \(ReadableNumber.bytes(space.total)), Free : \(ReadableNumber.bytes(space.available))."
        }
        // Our own: what comes before messages are refused, and why they are.
        let room = store.space
        table["commitLogBytes"] = "\(store.writtenOffset - store.minPhysicalOffset)"
        table["diskSpaceLevel"] = "\(room.level)"
        table["diskSpaceForecast"] = room.forecast
        table["diskBytesUntilRefusal"] = "\(room.bytesUntilRefusal == .max ? -1 : room.bytesUntilRefusal)"
        table["diskSecondsUntilRefusal"] = "\(room.secondsUntilRefusal.map { Int64(min($0, 1e15)) } ?? -1)"
        table["refusal"] = store.refusal.map(\.reason) ?? ""
        return table
    }
}
