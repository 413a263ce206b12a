/** The data source of an `EntityManager`. `connection` is what TypeORM 0.3 calls it. */
export function dataSourceOf(manager: object): unknown {
  const { dataSource, connection } = manager as {
    readonly dataSource?: unknown;
    readonly connection?: unknown;
  };
  return dataSource ?? connection;
}
