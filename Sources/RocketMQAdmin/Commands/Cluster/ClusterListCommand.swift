import RocketMQBase
import RocketMQProtocol

/// `clusterList`: all clusters and brokers with their load; with `-m` what they took in and gave out today and yesterday.
struct ClusterListCommand: AdminCommand {
    static let moreStatistics = CommandFlag("moreStats", "m", "Show messages in and out, of yesterday and today.")
    static let interval = CommandOption<Int>(
        "interval", "i", value: "SECONDS", allowed: "a number of seconds from 1 on",
        "Print again after so many seconds, until interrupted.",
        accepts: { (1...86_400).contains($0) })

    static let declaration = CommandDeclaration.admin("clusterList", "List all clusters and their brokers.", moreStatistics, interval)

    let showsTotals: Bool
    let interval: Duration?

    init(_ arguments: CommandArguments) {
        showsTotals = arguments[Self.moreStatistics]
        interval = arguments[Self.interval].map { .seconds($0) }
    }

    /// A broker and what it says of itself; `nil` when it does not answer.
    struct Entry: Sendable {
        var cluster: String
        var brokerName: String
        var id: Int64
        var address: String
        var info: [String: String]?
    }

    func run(_ context: AdminContext) async throws(AdminError) {
        repeat {
            let entries = try await entries(context)
            context.show(showsTotals ? Self.totals(entries) : Self.load(entries, nowMilliseconds: context.nowMilliseconds))
            guard let interval else { return }
            do { try await context.clock.sleep(for: interval) } catch { return }
        } while true
    }

    private func entries(_ context: AdminContext) async throws(AdminError) -> [Entry] {
        let clusters = try await context.client.clusterInfo().clusterAddrTable.keys.sorted()
        var entries: [Entry] = []
        for cluster in clusters {
            for member in try await context.client.brokers(ofCluster: cluster) {
                var entry = Entry(cluster: cluster, brokerName: member.brokerName, id: member.id, address: member.address)
                do throws(AdminError) {
                    entry.info = try await context.client.runtimeInfo(ofBroker: member.address)
                } catch {
                    context.warn(error.description)
                }
                entries.append(entry)
            }
        }
        return entries
    }

    static func load(_ entries: [Entry], nowMilliseconds: Int64) -> Table {
        var table = Table([
            .init("#Cluster Name", "clusterName"), .init("#Broker Name", "brokerName"), .init("#BID", "brokerId"),
            .init("#Addr", "address"),
            .init("#Version", "version"), .init("#InTPS(LOAD)", "inTps", right: true), .init("#OutTPS(LOAD)", "outTps", right: true),
            .init("#PCWait(ms)", "pageCacheWaitMilliseconds", right: true), .init("#Hour", "hours", right: true),
            .init("#SPACE", "diskRatio", right: true),
        ])
        for entry in entries {
            let start: [Table.Cell] = [.init(entry.cluster), .init(entry.brokerName), .init(entry.id), .init(entry.address)]
            guard let info = entry.info else {
                let none = Table.Cell("-", json: .null)
                table.add(start[0], start[1], start[2], start[3], none, none, none, none, none, none)
                continue
            }
            let earliest = info["earliestMessageTimeStamp"].flatMap { Int64($0) } ?? -1
            let hours = earliest > 0 ? Double(max(0, nowMilliseconds - earliest)) / 3_600_000 : 0
            table.add(
                start[0], start[1], start[2], start[3], .init(info["brokerVersionDesc"] ?? ""), rate(info, "putTps", "send"),
                rate(info, "getTransferedTps", "pull"), .init(info["pageCacheLockTimeMills"].flatMap { Int64($0) } ?? 0),
                .init(hours, digits: 2), .init(info["commitLogDiskRatio"].flatMap { Double($0) } ?? 0, digits: 4))
        }
        return table
    }

    /// Messages a second in the last ten seconds, requests that wait, and how long the first of them does.
    private static func rate(_ info: [String: String], _ key: String, _ pool: String) -> Table.Cell {
        let rate = info[key]?.split(separator: " ").first.flatMap { Double($0) } ?? 0
        let (size, wait) = (info["\(pool)ThreadPoolQueueSize"] ?? "0", info["\(pool)ThreadPoolQueueHeadWaitTimeMills"] ?? "0")
        return .init("\(NumberText.decimal(rate, digits: 2))(\(size),\(wait)ms)", json: .number(rate))
    }

    static func totals(_ entries: [Entry]) -> Table {
        var table = Table([
            .init("#Cluster Name", "clusterName"), .init("#Broker Name", "brokerName"),
            .init("#InTotalYest", "inTotalYesterday", right: true),
            .init("#OutTotalYest", "outTotalYesterday", right: true), .init("#InTotalToday", "inTotalToday", right: true),
            .init("#OutTotalToday", "outTotalToday", right: true),
        ])
        for entry in entries {
            func difference(_ later: String, _ earlier: String) -> Table.Cell {
                guard let info = entry.info else { return .init("-", json: .null) }
                return .init((info[later].flatMap { Int64($0) } ?? 0) &- (info[earlier].flatMap { Int64($0) } ?? 0))
            }
            table.add(
                .init(entry.cluster), .init(entry.brokerName), difference("msgPutTotalTodayMorning", "msgPutTotalYesterdayMorning"),
                difference("msgGetTotalTodayMorning", "msgGetTotalYesterdayMorning"),
                difference("msgPutTotalTodayNow", "msgPutTotalTodayMorning"), difference("msgGetTotalTodayNow", "msgGetTotalTodayMorning"))
        }
        return table
    }
}
