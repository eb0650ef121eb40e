/// What the broker counts of its work, since the start. Confined to its loop.
final class BrokerCounters {
    var storedMessages: Int64 = 0
    var storedBytes: Int64 = 0
    var refusedSends: Int64 = 0
    var pulledMessages: Int64 = 0
    var pulledBytes: Int64 = 0
    var pulls: Int64 = 0

    init() {}

    var totals: RuntimeStatistics.Totals {
        RuntimeStatistics.Totals(
            putMessages: storedMessages, putBytes: storedBytes, refusedPuts: refusedSends, gotMessages: pulledMessages, pulls: pulls)
    }
}
