import type { INestApplication } from '@nestjs/common';
import { describeHttp } from '@kvent/key-value-storage';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';

const description = [
  'A shop for many tenants, to show what Kvent does: each shop sees its own products, carts and stock, and nothing of the others.',
  '',
  'Errors are problem details (RFC 9457, `application/problem+json`) with a stable `code`, and with the `correlationId` that was sent as `X-Correlation-Id`.',
  'Any address may answer 413 `LIMIT_EXCEEDED`, 503 `STORAGE_UNAVAILABLE` with Retry-After, or 504 `STORAGE_OUTCOME_UNKNOWN`.',
].join('\n');

/**
 * `/docs`, and the same for machines at `/docs-json`. The page's own files come from
 * `swagger-ui-dist`: nothing is fetched from elsewhere.
 */
export function addApiPage(app: INestApplication): void {
  const config = new DocumentBuilder()
    .setTitle('Storefront')
    .setDescription(description)
    .setVersion('1')
    .build();
  describeHttp(app);
  SwaggerModule.setup('docs', app, () => SwaggerModule.createDocument(app, config), {
    customSiteTitle: 'Storefront',
  });
}
