/** The files of `kvent init --example`. The guide for new applications shows them. */

/** A state, a service, a controller and their module. */
export const exampleModule = `import {
  Body,
  Controller,
  Get,
  Injectable,
  Module,
  Param,
  Put,
  UseFilters,
} from '@nestjs/common';
import {
  InjectStore,
  KeyValueStorageModule,
  KeyValueStore,
  State,
  StorageExceptionFilter,
} from '@kvent/key-value-storage';

@State('product')
export class Product {
  title!: string;
  price!: number;
}

@Injectable()
export class Catalog {
  constructor(
    @InjectStore(Product) private readonly products: KeyValueStore<Product>,
  ) {}

  find(sku: string) {
    return this.products.getOrThrow(sku);
  }

  put(sku: string, { title, price }: Product) {
    return this.products.set(sku, { title, price });
  }
}

@Controller('products')
@UseFilters(StorageExceptionFilter)
export class ProductsController {
  constructor(private readonly catalog: Catalog) {}

  @Get(':sku')
  async find(@Param('sku') sku: string) {
    return (await this.catalog.find(sku)).value;
  }

  @Put(':sku')
  async put(@Param('sku') sku: string, @Body() product: Product) {
    return (await this.catalog.put(sku, product)).value;
  }
}

@Module({
  imports: [KeyValueStorageModule.forFeature([Product])],
  controllers: [ProductsController],
  providers: [Catalog],
})
export class CatalogModule {}
`;

/** A test of the application on memory, for the test runner of the application. */
export function exampleTest(runner: 'jest' | 'vitest', extension: '' | '.js'): string {
  const imports = runner === 'vitest' ? `import { expect, it } from 'vitest';\n` : '';
  return `${imports}import { Test } from '@nestjs/testing';
import { MemoryProvider } from '@kvent/key-value-storage';
import { overrideStorage } from '@kvent/key-value-storage/testing';
import { AppModule } from './app.module${extension}';
import { Catalog } from './catalog.module${extension}';

it('finds a product that was put', async () => {
  const app = await overrideStorage(
    Test.createTestingModule({ imports: [AppModule] }),
    new MemoryProvider(),
  ).compile();
  await app.init();
  const catalog = app.get(Catalog, { strict: false });
  await catalog.put('mug', { title: 'Mug', price: 10 });
  expect((await catalog.find('mug')).value.price).toBe(10);
  await app.close();
});
`;
}
